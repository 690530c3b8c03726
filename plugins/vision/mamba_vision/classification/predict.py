"""Classify images with a trained model: in memory, in files, in folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_registry import TaskSpec
from mamba_vision.classification.config import ClassifierPredict
from mamba_vision.classification.model import ImageClassifier
from mamba_vision.images import Preparation, image_files, to_pixels
from mamba_vision.labelling.predict import Labeller


class ImageLabeller(Labeller):
    """A trained classifier for images: in memory with :meth:`classify` and :meth:`features`, files
    and folders with :meth:`run`.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.classification.config.ClassifierPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    samples = "images"

    def __init__(
        self,
        model: ImageClassifier,
        config: ClassifierPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        config = config or ClassifierPredict()
        super().__init__(model, config, spec=spec, device=device)
        self.prepare = Preparation(model.config, config.crop)

    def read(self, sample: Any) -> Tensor:
        """Return float32 ``(in_chans, height, width)`` of an image of any size.

        :param sample: a path, a PIL image, an array ``(H, W[, C])`` or a tensor ``(C, H, W)``;
            integers are 8-bit, floats in 0 to 1.
        :raises ValueError: for another number of channels, values that are not finite, and files
            that are no images.
        """
        return self.prepare(to_pixels(sample, self.model.config.in_chans))

    def files(self, inputs: Sequence[Path]) -> list[Path]:
        """See :meth:`Labeller.files`; a folder holds image files, at any depth."""
        return image_files(inputs)
