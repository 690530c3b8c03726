"""Enhance arrays and files with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_audio.enhancement.config import EnhancerPredict
from mamba_audio.enhancement.model import Enhancer
from mamba_audio.files.processor import Array, FileProcessor
from mamba_registry import TaskSpec


class FileEnhancer(FileProcessor):
    """A trained enhancer for daily use: arrays with :meth:`enhance`, files with :meth:`run`.

    A file becomes ``<file name>_enhanced.wav``. Levels are the model's own: what is taken away
    is not made up for.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_audio.enhancement.config.EnhancerPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    def __init__(
        self,
        model: Enhancer,
        config: EnhancerPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            config or EnhancerPredict(),
            sample_rate=model.config.sample_rate,
            stems=("enhanced",),
            fit=False,
        )
        self.model, self.spec, self.device = model, spec, torch.device(device)

    @classmethod
    def from_pretrained(
        cls, path: Path | str, *, device: str = "cpu", **fields: Any
    ) -> FileEnhancer:
        """Load a folder that ``save_pretrained`` or a training wrote.

        :param fields: of :class:`~mamba_audio.enhancement.config.EnhancerPredict`.
        """
        from mamba_core import from_pretrained

        model: Any = from_pretrained(path, device=device)
        return cls(model, EnhancerPredict(**fields), device=device)

    def enhance(self, wave: Array | Tensor, sample_rate: int) -> Array:
        """Enhance a recording in memory; see :meth:`FileProcessor.process`."""
        return self.process(wave, sample_rate)["enhanced"]

    @torch.inference_mode()
    def estimate(self, mixture: Tensor) -> Tensor:
        """See :meth:`FileProcessor.estimate`."""
        return self.model(mixture.to(self.device))["enhanced"].float().cpu()[:, None]
