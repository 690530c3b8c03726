"""Tag arrays and files with a trained model."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamba_audio.files.processor import Array, Progress
from mamba_audio.files.reading import Reading, open_recording
from mamba_audio.files.resample import Resampler
from mamba_audio.tagging.config import TaggerPredict
from mamba_audio.tagging.model import Tagger
from mamba_core.atomic import new_file, refuse_taken
from mamba_core.file_batches import take_each
from mamba_registry import TaskSpec

TABLE = "tags.csv"
"""What :meth:`FileTagger.run` writes: ``file, tag, score``, the most likely tag first."""


class FileTagger:
    """A trained tagger for daily use: arrays with :meth:`tag`, files with :meth:`run`.

    A recording longer than what the model hears at once is heard piece by piece, in memory that
    does not grow; its scores are the means over the pieces. A shorter one is padded with silence.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_audio.tagging.config.TaggerPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    def __init__(
        self,
        model: Tagger,
        config: TaggerPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config or TaggerPredict()

    def tag(self, wave: Array | Tensor, sample_rate: int) -> dict[str, float]:
        """Tag a recording in memory.

        :param wave: ``(samples,)`` or ``(channels, samples)``, full scale is 1.
        :param sample_rate: in Hz.
        :returns: tag -> score from 0 to 1, all tags, the most likely first.
        :raises ValueError: for an empty, too short or non-finite wave, or one of another shape.
        """
        whole = torch.as_tensor(wave, dtype=torch.float32)
        if whole.dim() not in (1, 2):
            raise ValueError(
                f"wave has shape {tuple(whole.shape)}, expected (samples,) or (channels, samples)"
            )
        whole = whole[None] if whole.dim() == 1 else whole
        reading = Reading("wave", sample_rate, whole.shape[-1], self.config.channels)
        return self._scores([reading.check(whole)], sample_rate)

    def tag_file(self, path: Path | str, *, progress: Progress | None = None) -> dict[str, float]:
        """Tag a file; see :meth:`tag`.

        :param progress: called now and then.
        :raises FileNotFoundError: when there is no such file.
        :raises ValueError: for a file that is no audio, empty, too short or holds NaN.
        """
        path = Path(path)
        with open_recording(path) as source:
            reading = Reading(str(path), source.samplerate, source.frames, self.config.channels)

            def blocks() -> Iterable[Tensor]:
                for block in reading.blocks(source):
                    yield block
                    if progress is not None:
                        progress(path.name, reading.done, reading.total)

            return self._scores(blocks(), reading.rate)

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Tag files and write ``out/tags.csv``; one bad file does not stop the others.

        :returns: a row per file, ``file, tags`` with the first ``config.top`` tags, and after
            them those of bad files, ``file, error``.
        :raises FileExistsError: when the table is there and ``overwrite`` is not set.
        """
        table = Path(out) / TABLE
        refuse_taken([table], overwrite=overwrite)

        def row(path: Path) -> dict[str, Any]:
            scores = self.tag_file(path, progress=progress)
            return {"file": str(path), "tags": dict(list(scores.items())[: self.config.top])}

        rows = take_each(inputs, row)
        with new_file(table) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "tag", "score"])
            writer.writerows(
                [found["file"], tag, f"{score:.6f}"]
                for found in rows
                for tag, score in found.get("tags", {}).items()
            )
        return rows

    def _scores(self, blocks: Iterable[Tensor], rate: int) -> dict[str, float]:
        """Mean scores over windows; ``blocks`` are ``(1, samples)`` at ``rate``."""
        size = self.model.config.samples
        hop = max(math.ceil(size * (1 - self.config.overlap)), 1)
        resampler = Resampler(rate, self.model.config.sample_rate)
        waiting = np.zeros(0, np.float32)
        total, windows = torch.zeros(len(self.model.config.labels)), 0
        for block in blocks:
            waiting = np.concatenate([waiting, resampler.push(block.numpy())[0]])
            while len(waiting) >= size:
                total, windows = total + self._hear(waiting[:size]), windows + 1
                waiting = waiting[hop:]
        waiting = np.concatenate([waiting, resampler.flush()[0]])
        # a short rest says little: it counts where it is all there is, or half a window
        if windows == 0 or len(waiting) >= size / 2:
            rest = np.pad(waiting[:size], (0, max(size - len(waiting), 0)))
            total, windows = total + self._hear(rest), windows + 1
        scores = zip(self.model.config.labels, (total / windows).tolist(), strict=True)
        return dict(sorted(scores, key=lambda pair: -pair[1]))

    @torch.inference_mode()
    def _hear(self, window: Array) -> Tensor:
        wave = torch.from_numpy(window.copy())[None].to(self.device)
        return self.model(wave)["logits"][0].float().sigmoid().cpu()
