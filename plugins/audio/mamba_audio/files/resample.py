"""Sample rate conversion piece by piece, as if the whole were converted at once."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Array = NDArray[np.float32]

SLOWEST, FASTEST = 1000, 768_000


class Resampler:
    """Converts a recording that arrives in pieces, with a filter that knows the earlier ones.

    Pieces of any length give what the whole would give: no seams. In all it returns exactly
    ``samples_after(pushed)`` samples, aligned with the input in time.

    :param old: rate of the input, in Hz.
    :param new: rate of the output, in Hz.
    :param channels: number of channels.
    :raises ValueError: for a rate that is none.
    """

    def __init__(self, old: int, new: int, channels: int = 1) -> None:
        for rate in (old, new):
            check_rate(rate)
        self.old, self.new = old, new
        self._stream = soxr.ResampleStream(old, new, channels, "float32", "HQ")
        self._channels = channels
        self._read = self._given = 0

    def push(self, wave: Array) -> Array:
        """Continue, ``(channels, samples)`` -> what is ready by now."""
        if self.old == self.new:
            return wave
        self._read += wave.shape[-1]
        return self._counted(self._stream.resample_chunk(np.ascontiguousarray(wave.T)))

    def flush(self) -> Array:
        """End: return what is still due, ``(channels, samples)``."""
        if self.old == self.new:
            return np.zeros((self._channels, 0), np.float32)
        nothing = np.zeros((0, self._channels), np.float32)
        rest = self._counted(self._stream.resample_chunk(nothing, last=True))
        missing = samples_after(self._read, self.old, self.new) - self._given
        return np.pad(rest, ((0, 0), (0, max(missing, 0))))

    def _counted(self, frames: Array) -> Array:
        room = samples_after(self._read, self.old, self.new) - self._given
        frames = frames[:room]
        self._given += len(frames)
        return frames.T


def samples_after(samples: int, old: int, new: int) -> int:
    """Return the length of a recording at another rate, rounded up."""
    return -(-samples * new // old)


def check_rate(rate: int) -> None:
    """Refuse a number that is no sample rate.

    :raises ValueError: outside 1 to 768 kHz.
    """
    if not SLOWEST <= rate <= FASTEST:
        raise ValueError(
            f"a sample rate of {rate} Hz: from {SLOWEST} to {FASTEST} Hz can be converted; is the "
            "header of the file damaged?"
        )
