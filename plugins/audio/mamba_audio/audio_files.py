"""Reading recordings for training: one rate, one channel, decoded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from mamba_audio.files.resample import Resampler

Wave = NDArray[np.float32]

CACHE_BYTES = 2**30
"""Decoded recordings kept in memory per process; further ones are decoded each time."""

SUFFIXES = (".flac", ".wav", ".ogg")


class Recordings:
    """Mono recordings by path, kept in memory up to :data:`CACHE_BYTES`.

    :param sample_rate: that every file must have, in Hz.
    :param convert: bring files of another rate to it instead, and average their channels.
    """

    def __init__(self, sample_rate: int, *, convert: bool = False) -> None:
        self.sample_rate, self.convert = sample_rate, convert
        self._waves: dict[Path, Wave] = {}
        self._bytes = 0

    def read(self, path: Path) -> Wave:
        """Return a whole recording, float32 ``(samples,)``; do not write into it.

        :raises FileNotFoundError: when there is no such file.
        :raises ValueError: for another sample rate, several channels, or no audio.
        """
        if path in self._waves:
            return self._waves[path]
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: check root and the list that names it")
        try:
            wave, rate = sf.read(path, dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise ValueError(
                f"{path} is no audio file that libsndfile reads ({error}): convert it to wav or "
                "flac, or take it out of the data"
            ) from error
        if not len(wave) or not np.isfinite(wave).all():
            raise ValueError(f"{path} is empty or holds NaN: take it out of the data")
        if self.convert:
            wave = _converted(wave, rate, self.sample_rate)
        else:
            self._check(path, wave, rate)
            wave = wave[:, 0]
        if self._bytes + wave.nbytes <= CACHE_BYTES:
            self._waves[path] = wave
            self._bytes += wave.nbytes
        return wave

    def _check(self, path: Path, wave: Wave, rate: int) -> None:
        if rate != self.sample_rate:
            raise ValueError(
                f"{path} has {rate} Hz, the model {self.sample_rate} Hz: resample the files, or "
                f"build the model with sample_rate={rate}"
            )
        if wave.shape[1] != 1:
            raise ValueError(
                f"{path} has {wave.shape[1]} channels, ready mixtures and sources must have one: "
                "keep one channel of each file"
            )


def _converted(wave: Wave, old: int, new: int) -> Wave:
    """``(samples, channels)`` at one rate -> ``(samples,)`` at another."""
    mono = wave.mean(1)[None]
    resampler = Resampler(old, new)
    return np.concatenate([resampler.push(mono), resampler.flush()], axis=1)[0]
