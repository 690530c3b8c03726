"""Outputs that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import soundfile as sf
from torch import Tensor

from mamba_core.atomic import refuse_taken

_SUBTYPES = {".wav": "FLOAT", ".flac": "PCM_24", ".ogg": "VORBIS"}
_CHANNELS = {".wav": 1024, ".flac": 8, ".ogg": 255}
"""How many a format holds."""


class StemFiles:
    """Several audio files written side by side, under hidden names until all are finished.

    Use it as a context: leaving it without an error renames the files to their targets, leaving
    it with one removes them.

    :param targets: ``.wav`` (32-bit float), ``.flac`` (24-bit) or ``.ogg`` (Vorbis) paths, one
        per stem.
    :param rate: sample rate in Hz.
    :param channels: of every file.
    :raises FileExistsError: when a target is there and ``overwrite`` is not set.
    :raises NotADirectoryError: when a file stands where their folder should be.
    :raises ValueError: for more channels than the format holds.
    """

    def __init__(
        self, targets: Sequence[Path], rate: int, channels: int, *, overwrite: bool
    ) -> None:
        refuse_taken(targets, overwrite=overwrite)
        suffix = targets[0].suffix
        if channels > _CHANNELS[suffix]:
            raise ValueError(
                f"{channels} channels do not fit into {suffix[1:]}, which holds "
                f"{_CHANNELS[suffix]}: write wav, or read the mean or the first channel only"
            )
        self.clipped = 0
        """Samples beyond full scale, which only wav can hold."""
        self.folder = targets[0].parent
        self._targets = list(targets)
        self._parts = [t.with_name(f".{t.stem}.{os.getpid()}.part{t.suffix}") for t in targets]
        self._rate, self._channels = rate, channels
        self._files: list[sf.SoundFile] = []

    def __enter__(self) -> StemFiles:
        try:
            for part in self._parts:
                part.parent.mkdir(parents=True, exist_ok=True)
                file = sf.SoundFile(
                    part, "w", self._rate, self._channels, subtype=_SUBTYPES[part.suffix]
                )
                self._files.append(file)
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, block: Tensor) -> None:
        """Append ``(stems, channels, samples)``.

        :raises OSError: when the disk does not take them.
        """
        for stem, file in zip(block, self._files, strict=True):
            if file.subtype != "FLOAT":
                self.clipped += int((stem.abs() > 1).sum())
                stem = stem.clamp(-1, 1)
            try:
                file.write(stem.T.numpy())
            except sf.LibsndfileError as error:
                raise OSError(
                    f"{file.name} cannot be written ({error}): is the disk full?"
                ) from None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            for file in self._files:
                file.close()
            for part, target in zip(self._parts, self._targets, strict=True):
                part.replace(target)
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        for file in self._files:
            file.close()
        for part in self._parts:
            part.unlink(missing_ok=True)
