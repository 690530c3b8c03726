"""Separate arrays and files with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_audio.files.processor import Array, FileProcessor, Progress
from mamba_audio.files.tracks import Tracks
from mamba_audio.separation.config import SeparatorPredict
from mamba_audio.separation.model import Separator
from mamba_audio.separation.streaming import SeparatorStream
from mamba_registry import TaskSpec


class FileSeparator(FileProcessor):
    """A trained separator for daily use: arrays in memory with :meth:`separate`, files with
    :meth:`separate_file` and :meth:`run`.

    A causal model that streams reads on without chunks. Every voice is scaled so that their sum
    is closest to the mixture over the whole recording, because training leaves levels free.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_audio.separation.config.SeparatorPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    :raises ValueError: for stem names that are not one per source.
    """

    def __init__(
        self,
        model: Separator,
        config: SeparatorPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        config = config or SeparatorPredict()
        sources = model.config.sources
        stems = config.stems or tuple(f"s{k + 1}" for k in range(sources))
        if len(set(stems)) != sources or any(Path(s).name != s for s in stems):
            raise ValueError(
                f"stems = {stems}: {sources} different names without slashes are needed, one per "
                "source"
            )
        super().__init__(config, sample_rate=model.config.sample_rate, stems=stems, fit=True)
        self.model, self.spec, self.device = model, spec, torch.device(device)

    @classmethod
    def from_pretrained(
        cls, path: Path | str, *, device: str = "cpu", **fields: Any
    ) -> FileSeparator:
        """Load a folder that ``save_pretrained`` or a training wrote.

        :param fields: of :class:`~mamba_audio.separation.config.SeparatorPredict`.
        """
        from mamba_core import from_pretrained

        model: Any = from_pretrained(path, device=device)
        return cls(model, SeparatorPredict(**fields), device=device)

    def separate(self, wave: Array | Tensor, sample_rate: int) -> dict[str, Array]:
        """Separate a recording in memory; see :meth:`FileProcessor.process`."""
        return self.process(wave, sample_rate)

    def separate_file(
        self,
        path: Path | str,
        out: Path | str,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Separate a file; see :meth:`FileProcessor.process_file`."""
        return self.process_file(path, out, overwrite=overwrite, progress=progress)

    @torch.inference_mode()
    def estimate(self, mixture: Tensor) -> Tensor:
        """See :meth:`FileProcessor.estimate`."""
        return self.model(mixture.to(self.device))["estimates"].float().cpu()

    def make_tracks(self, chunk: int, hop: int) -> Tracks:
        """See :meth:`FileProcessor.make_tracks`."""
        if self.model.config.causal:
            try:
                return SeparatorStream(self.model)
            except TypeError:  # causal, but of a network that keeps no state
                pass
        return super().make_tracks(chunk, hop)
