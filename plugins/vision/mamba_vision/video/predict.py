"""Classify clips with a trained model: in memory, in files, in folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_registry import TaskSpec
from mamba_vision.images import Preparation
from mamba_vision.labelling.predict import Labeller
from mamba_vision.video.clips import check_length, clip_paths, open_clip, spread
from mamba_vision.video.config import VideoPredict
from mamba_vision.video.model import VideoClassifier


class ClipLabeller(Labeller):
    """A trained classifier for clips: in memory with :meth:`classify` and :meth:`features`, video
    files, folders of frames and folders of both with :meth:`run`.

    Of each clip as many frames are looked at as the model is made for, evenly spread.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.video.config.VideoPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    samples = "clips"

    def __init__(
        self,
        model: VideoClassifier,
        config: VideoPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings = config or VideoPredict()
        super().__init__(model, self.settings, spec=spec, device=device)
        self.prepare = Preparation(model.config, self.settings.crop)

    def read(self, sample: Any) -> Tensor:
        """Return float32 ``(frames, in_chans, height, width)`` of a clip of any size and length.

        :param sample: a video file; a folder of frames; a tensor ``(T, C, H, W)``; an array
            ``(T, H, W[, C])``; a sequence of images. Integers are 8-bit, floats in 0 to 1.
        :raises ValueError: for another number of channels, values that are not finite, files that
            cannot be decoded, and too few frames where ``short='refuse'``.
        """
        model, clip = self.model.config, open_clip(sample)
        check_length(clip, model.frames, self.settings.short)
        return self.prepare(clip.read(spread(len(clip), model.frames).tolist(), model.in_chans))

    def files(self, inputs: Sequence[Path]) -> list[Path]:
        """See :meth:`Labeller.files`; a folder that holds image files is one clip."""
        return clip_paths(inputs)
