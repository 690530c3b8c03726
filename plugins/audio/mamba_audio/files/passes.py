"""The two passes over a recording: find the voices, then write them at the right level.

What has to be known of the whole recording (the level of every voice, and which voices of two
channels are the same) is known only at its end. So the first pass stores raw estimates at the
model's rate, with a few sums, and the second one reads them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mamba_audio.files.levels import LevelFit
from mamba_audio.files.resample import Resampler, samples_after
from mamba_audio.files.tracks import Tracks

Array = NDArray[np.float32]

_BLOCK = 1 << 16
"""Samples per channel that the second pass reads at once."""


class FirstPass:
    """Separates every channel by itself and stores the estimates.

    :param tracks: one per channel, new.
    :param sources: estimates per channel.
    :param store: a binary file, open for writing and reading; frames of float32.
    :param rate: of the recording, in Hz.
    :param own: of the tracks, in Hz.
    :param fit: scale the estimates so that their sum is closest to the recording.
    """

    def __init__(
        self,
        tracks: Sequence[Tracks],
        sources: int,
        store: BinaryIO,
        *,
        rate: int,
        own: int,
        fit: bool,
    ) -> None:
        self.own, self.rate, self.fit = own, rate, fit
        self.channels, self.sources = len(tracks), sources
        self._store, self._samples = store, 0
        self._resampler = Resampler(rate, own, self.channels)
        self._tracks = tracks
        self._levels = [LevelFit(sources) for _ in tracks]
        self._alike = torch.zeros(self.channels, sources, sources, dtype=torch.float64)
        self._mixture = torch.zeros(self.channels, 0)

    def push(self, block: Tensor) -> None:
        """Continue, ``(channels, samples)`` at the recording's rate."""
        self._samples += block.shape[-1]
        self._separate(torch.from_numpy(self._resampler.push(block.numpy())))

    def finish(self) -> None:
        """End the recording."""
        self._separate(torch.from_numpy(self._resampler.flush()))
        self._keep(torch.stack([tracks.flush() for tracks in self._tracks]))

    def _separate(self, mixture: Tensor) -> None:
        self._mixture = torch.cat([self._mixture, mixture], dim=-1)
        found = [t.push(channel) for t, channel in zip(self._tracks, mixture, strict=True)]
        self._keep(torch.stack(found))

    def _keep(self, estimates: Tensor) -> None:
        """Store ``(channels, sources, samples)`` and add it to the sums."""
        mixture = self._mixture[:, : estimates.shape[-1]]
        self._mixture = self._mixture[:, estimates.shape[-1] :]
        for level, found, target in zip(self._levels, estimates, mixture, strict=True):
            level.add(found, target)
        self._alike += estimates[0].double() @ estimates.double().transpose(1, 2)
        self._store.write(estimates.flatten(0, 1).T.contiguous().numpy().tobytes())

    def second(self, rate: int) -> Iterator[Tensor]:
        """Yield the finished stems in order, ``(sources, channels, samples)``.

        :param rate: of the output: the recording's, which gives its length to the sample, or
            the model's.
        """
        gains = torch.stack([level.gains() for level in self._levels])[..., None]
        gains = gains if self.fit else torch.ones_like(gains)
        orders = [
            _best_match(alike * gains[0] * gain.T)
            for alike, gain in zip(self._alike, gains, strict=True)
        ]
        width = self.channels * self.sources
        resampler = Resampler(self.own, rate, width)
        due = self._samples if rate == self.rate else samples_after(self._samples, self.rate, rate)
        for wave in _resampled(resampler, _frames(self._store, width)):
            wave = wave[:, :due]
            due -= wave.shape[-1]
            estimates = torch.from_numpy(wave.copy()).unflatten(0, (self.channels, self.sources))
            stems = [e[o] for e, o in zip(estimates * gains, orders, strict=True)]
            yield torch.stack(stems, dim=1)


def _best_match(alike: Tensor) -> Tensor:
    """Which source of a channel is most like each source of the first, int64 ``(sources,)``."""
    return torch.from_numpy(linear_sum_assignment(alike.numpy(), maximize=True)[1])


def _frames(store: BinaryIO, width: int) -> Iterator[Array]:
    store.seek(0)
    while data := store.read(4 * width * _BLOCK):
        yield np.frombuffer(data, np.float32).reshape(-1, width).T


def _resampled(resampler: Resampler, waves: Iterable[Array]) -> Iterator[Array]:
    for wave in waves:
        yield resampler.push(wave)
    yield resampler.flush()
