"""Reading recordings block by block, with every complaint in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile as sf
import torch
from torch import Tensor

from mamba_audio.files.resample import check_rate

SHORTEST = 0.02
"""Seconds; below this there is no voice to tell from another."""
FULL_SCALE = 32767 / 32768
"""A recording was clipped where it reaches this."""
BLOCK = 1 << 16
"""Samples per channel that are read at once."""


@contextmanager
def open_recording(path: Path) -> Iterator[sf.SoundFile]:
    """Open a file for reading.

    :raises FileNotFoundError: when there is none, or a folder.
    :raises ValueError: for one that is no audio.
    """
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder: give the files in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: is its name right, and the folder?")
    try:
        source = sf.SoundFile(path)
    except sf.LibsndfileError as error:
        raise ValueError(
            f"{path} is no audio file that libsndfile reads ({error}): convert it to wav or flac"
        ) from error
    with source:
        yield source


class Reading:
    """Checks a recording while it is read, and makes of its channels those that are wanted.

    :param name: for messages.
    :param rate: in Hz.
    :param total: samples in all.
    :param channels: ``mono``, ``each`` or ``first``.
    :raises ValueError: for a recording that is empty or too short, or a rate that is none.
    """

    def __init__(self, name: str, rate: int, total: int, channels: str) -> None:
        self.name, self.rate, self.total, self.channels = name, rate, total, channels
        self.clipped = 0
        """Samples at full scale so far."""
        self.done = 0
        """Samples read so far."""
        try:
            check_rate(rate)
        except ValueError as error:
            raise ValueError(f"{name} has {error}") from None
        if total < SHORTEST * rate:
            raise ValueError(
                f"{name} has {total} samples at {rate} Hz, at least {SHORTEST * 1000:.0f} ms are "
                f"needed ({SHORTEST * rate:.0f} samples): leave it out"
            )

    def blocks(self, source: sf.SoundFile) -> Iterator[Tensor]:
        """Yield a file piece by piece, checked, ``(channels, samples)``.

        :raises ValueError: for NaN, infinity, damage, or an end before the announced one.
        """
        while self.done < self.total:
            try:
                block = source.read(BLOCK, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                raise ValueError(
                    f"{self.name} cannot be read from sample {self.done} on ({error}): it is "
                    "damaged, save or fetch it again"
                ) from error
            if not len(block):
                raise ValueError(
                    f"{self.name} ends at sample {self.done}, its header says {self.total}: it is "
                    "cut off, save or fetch it again"
                )
            yield self.check(torch.from_numpy(block.T.copy()))

    def check(self, block: Tensor) -> Tensor:
        """``(channels, samples)`` as read -> what is wanted of it.

        :raises ValueError: for NaN or infinity, with the sample.
        """
        if not block.isfinite().all():
            bad = self.done + int((~block.isfinite()).any(0).nonzero()[0])
            raise ValueError(
                f"{self.name} holds NaN or infinity at sample {bad}: repair the recording first"
            )
        self.done += block.shape[-1]
        self.clipped += int((block.abs() >= FULL_SCALE).any(0).sum())
        if self.channels == "mono":
            return block.mean(0, keepdim=True)
        return block[:1] if self.channels == "first" else block
