"""Whole tracks from a recording that arrives in pieces, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mamba_audio.files.overlap_add import OverlapAdd, TrackOrder


class Tracks(Protocol):
    """What makes tracks of a recording piece by piece: chunks, or a stream."""

    def push(self, wave: Tensor) -> Tensor:
        """``(samples,)`` -> what is finished by now, ``(sources, samples)``."""
        ...

    def flush(self) -> Tensor:
        """End: return what is still due."""
        ...


class ChunkedTracks:
    """Separates chunk by chunk, puts the voices on the right tracks and fades the chunks over.

    :param separate: ``(1, samples) -> (1, sources, samples)`` at the model's rate.
    :param sources: number of tracks.
    :param chunk: samples that are separated at once.
    :param hop: samples from chunk to chunk, less than ``chunk``.
    """

    def __init__(
        self, separate: Callable[[Tensor], Tensor], sources: int, chunk: int, hop: int
    ) -> None:
        self.separate, self.sources, self.chunk, self.hop = separate, sources, chunk, hop
        self._adder = OverlapAdd(sources, chunk, hop)
        self._order = TrackOrder()
        self._waiting = torch.zeros(0)

    def push(self, wave: Tensor) -> Tensor:
        """See :meth:`Tracks.push`."""
        self._waiting = torch.cat([self._waiting, wave])
        finished = [torch.zeros(self.sources, 0)]
        while len(self._waiting) > self.chunk:  # what is left is never empty: it is the last
            finished.append(self._separate(self._waiting[: self.chunk], last=False))
            self._waiting = self._waiting[self.hop :]
        return torch.cat(finished, dim=-1)

    def flush(self) -> Tensor:
        """See :meth:`Tracks.flush`."""
        return self._separate(self._waiting, last=True)

    def _separate(self, chunk: Tensor, *, last: bool) -> Tensor:
        estimates = self.separate(chunk[None])[0]
        return self._adder.add(self._order(estimates, self._adder.overlap()), last=last)
