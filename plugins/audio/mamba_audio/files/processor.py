"""Arrays and files of any length, rate and number of channels through a trained model."""

from __future__ import annotations

import io
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_audio.files.config import FilePredict
from mamba_audio.files.output_files import StemFiles
from mamba_audio.files.passes import FirstPass
from mamba_audio.files.reading import BLOCK, Reading, open_recording
from mamba_audio.files.tracks import ChunkedTracks, Tracks
from mamba_core.file_batches import take_each

Progress = Callable[[str, int, int], None]
"""``(file name, samples done, samples in all)``."""

Array = NDArray[np.float32]


class FileProcessor(ABC):
    """One or several stems out of every recording.

    Long input is cut into chunks, which go through the model one by one, are put on the right
    tracks and faded into each other. Memory does not grow with the file. Sample rates are
    converted by filters that know no chunks; outputs have exactly the input's length, and
    nothing above half the model's rate. The same input gives the same output.

    :param config: see :class:`FilePredict`.
    :param sample_rate: the model's, in Hz.
    :param stems: names of what comes out.
    :param fit: scale the stems so that their sum is closest to the recording, over the whole
        of it.
    """

    def __init__(
        self, config: FilePredict, *, sample_rate: int, stems: Sequence[str], fit: bool
    ) -> None:
        self.config, self.sample_rate, self.stems, self.fit = config, sample_rate, stems, fit

    @abstractmethod
    def estimate(self, mixture: Tensor) -> Tensor:
        """Run the model on the CPU tensor ``(1, samples)``: ``(1, stems, samples)`` there too."""

    def make_tracks(self, chunk: int, hop: int) -> Tracks:
        """Return what takes one channel through the model."""
        return ChunkedTracks(self.estimate, len(self.stems), chunk, hop)

    def process(self, wave: Array | Tensor, sample_rate: int) -> dict[str, Array]:
        """Take a recording in memory through the model.

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
        reading = Reading("wave", sample_rate, whole.shape[-1], self.config.channels)
        with io.BytesIO() as store:
            first = self._first_pass(store, reading, whole.shape[0])
            for block in whole.split(BLOCK, dim=-1):
                first.push(reading.check(block))
            first.finish()
            stems = torch.cat(list(first.second(self._rate_out(sample_rate))), dim=-1).numpy()
        flat = self.config.channels != "each"
        return {s: t[0] if flat else t for s, t in zip(self.stems, stems, strict=True)}

    def process_file(
        self,
        path: Path | str,
        out: Path | str,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Take a file through the model into ``out/<file name>_<stem>.<format>``.

        ``config.names`` may say other names.

        :param out: folder, made when missing.
        :param overwrite: replace outputs that are there.
        :param progress: called now and then.
        :returns: ``file, outputs, seconds, sample_rate, silent``; ``input_clipped``: samples at
            full scale, where the recording was probably clipped; ``clipped``: samples of the
            outputs cut at full scale, which only ``wav`` can exceed; ``warnings`` where one of
            the last three says something, in words.
        :raises FileNotFoundError: when there is no such file.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises ValueError: for a file that is no audio, empty, too short or holds NaN. Whatever
            goes wrong, no output is left half-written.
        """
        path, out = Path(path), Path(out)
        with open_recording(path) as source:
            return self._process_open(source, path, out, overwrite, progress)

    def _process_open(
        self,
        source: sf.SoundFile,
        path: Path,
        out: Path,
        overwrite: bool,
        progress: Progress | None,
    ) -> dict[str, Any]:
        rate, total = source.samplerate, source.frames
        reading = Reading(str(path), rate, total, self.config.channels)
        written = self._rate_out(rate)
        channels = source.channels if self.config.channels == "each" else 1
        report = progress or (lambda name, done, of: None)
        done, peak = 0, 0.0
        with (
            StemFiles(self.targets(path, out), written, channels, overwrite=overwrite) as files,
            tempfile.TemporaryFile(dir=files.folder) as store,
        ):
            first = self._first_pass(store, reading, source.channels)
            for block in reading.blocks(source):
                first.push(block)
                done = reading.done
                report(path.name, done - done // 10, total)  # the second pass is the tenth part
            first.finish()
            done = 0
            for stems in first.second(written):
                files.write(stems)
                done += stems.shape[-1]
                peak = max(peak, float(stems.abs().max()) if stems.numel() else 0.0)
                share = min(done * rate // written, total) // 10
                report(path.name, total - total // 10 + share, total)
        report(path.name, total, total)
        row = {
            "file": str(path),
            "outputs": [str(target) for target in self.targets(path, out)],
            "seconds": total / rate,
            "sample_rate": written,
            "silent": peak == 0.0,
            "input_clipped": reading.clipped,
            "clipped": files.clipped,
        }
        warnings = _warnings(row)
        return row | {"warnings": warnings} if warnings else row

    def targets(self, path: Path, out: Path) -> list[Path]:
        """Return where the stems of a file go."""
        names = [self.config.names.format(file=path.stem, stem=stem) for stem in self.stems]
        return [out / f"{name}.{self.config.format}" for name in names]

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Take files through the model into one folder; see :meth:`process_file`.

        One bad file among several does not stop the others; see :func:`take_each`.

        :raises ValueError: for two inputs whose outputs would have the same names.
        """
        paths = list(map(Path, inputs))
        self._refuse_equal_names(paths, out)
        process = partial(self.process_file, out=out, overwrite=overwrite, progress=progress)
        return take_each(paths, process)

    def _refuse_equal_names(self, paths: Sequence[Path], out: Path) -> None:
        seen: dict[Path, Path] = {}
        for path in paths:
            target = self.targets(path, out)[0]
            other = seen.setdefault(target, path)
            if other is not path:
                raise ValueError(
                    f"{other} and {path} would both be written as {target.name}: give them "
                    "different folders by two calls"
                )

    def _first_pass(self, store: Any, reading: Reading, channels: int) -> FirstPass:
        chunk = max(round(self.config.chunk * self.sample_rate), 2)
        hop = min(max(round(chunk * (1 - self.config.overlap)), 1), chunk - 1)
        number = channels if self.config.channels == "each" else 1
        return FirstPass(
            [self.make_tracks(chunk, hop) for _ in range(number)],
            len(self.stems),
            store,
            rate=reading.rate,
            own=self.sample_rate,
            fit=self.fit,
        )

    def _rate_out(self, rate: int) -> int:
        return rate if self.config.keep_rate else self.sample_rate


def _warnings(row: dict[str, Any]) -> list[str]:
    """What a user should know of a file that went through."""
    found = []
    if row["silent"]:
        found.append("the outputs are silent: is there any sound in the recording?")
    if row["input_clipped"]:
        found.append(
            f"the recording is at full scale in {row['input_clipped']} samples, where it is "
            "probably clipped, which is heard in the outputs: a softer one is better"
        )
    if row["clipped"]:
        found.append(
            f"{row['clipped']} samples of the outputs were cut at full scale: wav would hold them"
        )
    return found
