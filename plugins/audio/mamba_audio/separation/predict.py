"""Separate arrays and files of any length, rate and number of channels with a trained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from mamba_audio.separation.config import SeparatorPredict
from mamba_audio.separation.model import Separator
from mamba_audio.separation.output_files import StemFiles
from mamba_audio.separation.overlap_add import (
    OverlapAdd,
    TrackOrder,
    chunk_starts,
    fit_levels,
)
from mamba_registry import TaskSpec

Progress = Callable[[str, int, int], None]
"""``(file name, samples done, samples in all)``."""

Array = NDArray[np.float32]
Read = Callable[[int, int], Tensor]
"""``(start, stop) -> float32 (channels, samples)``."""

SHORTEST = 0.02
"""Seconds; below this there is no voice to tell from another."""


class FileSeparator:
    """A trained separator for daily use: arrays in memory with :meth:`separate`, files with
    :meth:`separate_file` and :meth:`run`.

    Long input is cut into chunks, which are separated one by one, scaled to fit the mixture, put
    on the right tracks and faded into each other; memory depends on the chunk, not on the file.
    Everything between reading and writing happens at the file's own rate: a chunk is resampled to
    the model's rate and its estimates back, so outputs have exactly the input's length (and
    nothing above half the model's rate). The same input gives the same output.

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
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config or SeparatorPredict()
        sources = model.config.sources
        self.stems = self.config.stems or tuple(f"s{k + 1}" for k in range(sources))
        if len(set(self.stems)) != sources or any(Path(s).name != s for s in self.stems):
            raise ValueError(
                f"stems = {self.stems}: {sources} different names without slashes are needed, one "
                "per source"
            )

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
        """Separate a recording in memory.

        :param wave: ``(samples,)`` or ``(channels, samples)``, full scale is 1.
        :param sample_rate: of the wave, in Hz.
        :returns: stem name -> float32 ``(samples,)``, with ``channels="each"``
            ``(channels, samples)``, at the wave's rate and of its length (``keep_rate=False``: at
            the model's). A silent recording gives silent stems.
        :raises ValueError: for an empty, too short or non-finite wave, or one of another shape.
        """
        whole = torch.as_tensor(wave, dtype=torch.float32)
        if whole.dim() not in (1, 2):
            raise ValueError(
                f"wave has shape {tuple(whole.shape)}, expected (samples,) or (channels, samples)"
            )
        whole = whole[None] if whole.dim() == 1 else whole
        blocks = self._blocks(
            lambda start, stop: whole[:, start:stop], whole.shape[-1], sample_rate, "wave"
        )
        tracks = torch.cat(list(blocks), dim=-1).numpy()  # (stems, channels, samples)
        flat = self.config.channels != "each"
        return {s: t[0] if flat else t for s, t in zip(self.stems, tracks, strict=True)}

    def separate_file(
        self,
        path: Path | str,
        out: Path | str,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Separate a file into ``out/<file name>_<stem>.<format>``.

        :param out: folder, made when missing.
        :param overwrite: replace outputs that are there.
        :param progress: called after every chunk.
        :returns: ``file, outputs, seconds, sample_rate, silent, clipped`` (samples cut at full
            scale, FLAC only).
        :raises FileNotFoundError: when there is no such file.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises ValueError: for a file that is no audio, empty, too short or holds NaN. Whatever
            goes wrong, no output is left half-written.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist")
        try:
            source = sf.SoundFile(path)
        except sf.LibsndfileError as error:
            raise ValueError(f"{path} is no audio file that libsndfile reads: {error}") from error
        with source:
            return self._separate_open(source, path, Path(out), overwrite, progress)

    def _separate_open(
        self,
        source: sf.SoundFile,
        path: Path,
        out: Path,
        overwrite: bool,
        progress: Progress | None,
    ) -> dict[str, Any]:
        rate, total = source.samplerate, source.frames

        def read(start: int, stop: int) -> Tensor:
            source.seek(start)
            block = source.read(stop - start, dtype="float32", always_2d=True)
            if len(block) != stop - start:
                raise ValueError(f"{path} ends at sample {start + len(block)}, announces {total}")
            return torch.from_numpy(block.T.copy())

        written = self._rate_out(rate)
        channels = source.channels if self.config.channels == "each" else 1
        suffix = self.config.format
        targets = [out / f"{path.stem}_{stem}.{suffix}" for stem in self.stems]
        done, peak = 0, 0.0
        with StemFiles(targets, written, channels, overwrite=overwrite) as files:
            for block in self._blocks(read, total, rate, str(path)):
                done += block.shape[-1]
                peak = max(peak, float(block.abs().max()))
                files.write(block)
                if progress is not None:
                    progress(path.name, min(done * rate // written, total), total)
        return {
            "file": str(path),
            "outputs": [str(target) for target in targets],
            "seconds": total / rate,
            "sample_rate": written,
            "silent": peak == 0.0,
            "clipped": files.clipped,
        }

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Separate files into one folder; see :meth:`separate_file`.

        :raises ValueError: for two inputs whose outputs would have the same names.
        """
        seen: dict[str, Path] = {}
        for path in map(Path, inputs):
            other = seen.setdefault(path.stem, path)
            if other != path:
                raise ValueError(
                    f"{other} and {path} would both be written as {path.stem}_*: give them "
                    "different folders by two calls"
                )
        return [
            self.separate_file(path, out, overwrite=overwrite, progress=progress) for path in inputs
        ]

    def _blocks(self, read: Read, total: int, rate: int, name: str) -> Iterator[Tensor]:
        """Yield finished stretches of all tracks, ``(stems, channels, samples)``, in order."""
        if total < SHORTEST * rate:
            raise ValueError(
                f"{name} has {total} samples at {rate} Hz, at least {SHORTEST * 1000:.0f} ms are "
                f"needed ({SHORTEST * rate:.0f} samples)"
            )
        chunk, hop = self._sizes(rate)
        out = self._rate_out(rate)
        adders: list[OverlapAdd] = []
        orders: list[TrackOrder] = []
        for start in chunk_starts(total, chunk, hop):
            stop = min(start + chunk, total)
            mixture = self._mixdown(read(start, stop), name, start)
            estimates = self._separate_chunk(mixture, rate)
            if not adders:
                estimates = _like_first(estimates)
                sizes = (chunk * out // rate, hop * out // rate)
                adders = [OverlapAdd(len(self.stems), *sizes) for _ in mixture]
                orders = [TrackOrder() for _ in mixture]
            finished = []
            for adder, order, channel in zip(adders, orders, estimates, strict=True):
                tracks = order(channel, adder.overlap())
                finished.append(adder.add(tracks, last=stop == total))
            yield torch.stack(finished, dim=1)

    def _rate_out(self, rate: int) -> int:
        return rate if self.config.keep_rate else self.model.config.sample_rate

    def _sizes(self, rate: int) -> tuple[int, int]:
        """Chunk and hop in samples, whole at both rates, so that resampling moves nothing."""
        unit = rate // gcd(rate, self.model.config.sample_rate)
        chunk = max(round(self.config.chunk * rate / unit), 2) * unit
        hop = max(round(chunk * (1 - self.config.overlap) / unit), 1) * unit
        return chunk, min(hop, chunk - unit)

    def _mixdown(self, block: Tensor, name: str, start: int) -> Tensor:
        if not block.isfinite().all():
            bad = start + int((~block.isfinite()).any(0).nonzero()[0])
            raise ValueError(
                f"{name} holds NaN or infinity at sample {bad}: repair the recording first"
            )
        if self.config.channels == "mono":
            return block.mean(0, keepdim=True)
        return block[:1] if self.config.channels == "first" else block

    @torch.inference_mode()
    def _separate_chunk(self, mixture: Tensor, rate: int) -> Tensor:
        """``(channels, samples)`` -> ``(channels, stems, samples)`` at the rate of the outputs."""
        own = self.model.config.sample_rate
        resampled = _resample(mixture, rate, own)
        estimates = self.model(resampled.to(self.device))["estimates"].float().cpu()
        fitted = [fit_levels(e, m) for e, m in zip(estimates, resampled, strict=True)]
        out = self._rate_out(rate)
        samples = -(-mixture.shape[-1] * out // rate)
        return _to_length(_resample(torch.stack(fitted), own, out), samples)


def _resample(wave: Tensor, old: int, new: int) -> Tensor:
    return wave if old == new else torchaudio.functional.resample(wave, old, new)


def _to_length(wave: Tensor, samples: int) -> Tensor:
    return torch.nn.functional.pad(wave, (0, max(samples - wave.shape[-1], 0)))[..., :samples]


def _like_first(estimates: Tensor) -> Tensor:
    """Order the stems of every channel like those of the first, ``(channels, stems, samples)``."""
    ordered = []
    for channel in estimates:
        order = TrackOrder()
        order(estimates[0], estimates[0])
        ordered.append(order(channel, estimates[0]))
    return torch.stack(ordered)
