"""Whole tracks from a recording that arrives in pieces, in memory that does not grow with it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mamba_audio.separation.model import Separator
from mamba_audio.separation.overlap_add import OverlapAdd, TrackOrder
from mamba_audio.separation.streaming import SeparatorStream


class Tracks(Protocol):
    """What :class:`ChunkedTracks` and :class:`SeparatorStream` have in common."""

    def push(self, wave: Tensor) -> Tensor:
        """``(samples,)`` -> what is finished by now, ``(sources, samples)``."""
        ...

    def flush(self) -> Tensor:
        """End: return what is still due."""
        ...


def make_tracks(model: Separator, chunk: int, hop: int) -> Tracks:
    """Return what suits the model: a causal one carries its state on and needs no chunks."""
    if model.config.causal:
        try:
            return SeparatorStream(model)
        except TypeError:  # causal, but of a network that keeps no state
            pass
    return ChunkedTracks(model, chunk, hop)


class ChunkedTracks:
    """Separates chunk by chunk, puts the voices on the right tracks and fades the chunks over.

    :param model: in eval mode.
    :param chunk: samples that are separated at once.
    :param hop: samples from chunk to chunk, less than ``chunk``.
    """

    def __init__(self, model: Separator, chunk: int, hop: int) -> None:
        self.model, self.chunk, self.hop = model, chunk, hop
        self._device = next(model.parameters(), torch.zeros(0)).device
        self._adder = OverlapAdd(model.config.sources, chunk, hop)
        self._order = TrackOrder()
        self._waiting = torch.zeros(0)

    def push(self, wave: Tensor) -> Tensor:
        """See :meth:`Tracks.push`."""
        self._waiting = torch.cat([self._waiting, wave])
        finished = [torch.zeros(self.model.config.sources, 0)]
        while len(self._waiting) > self.chunk:  # what is left is never empty: it is the last
            finished.append(self._separate(self._waiting[: self.chunk], last=False))
            self._waiting = self._waiting[self.hop :]
        return torch.cat(finished, dim=-1)

    def flush(self) -> Tensor:
        """See :meth:`Tracks.flush`."""
        return self._separate(self._waiting, last=True)

    @torch.inference_mode()
    def _separate(self, chunk: Tensor, *, last: bool) -> Tensor:
        estimates = self.model(chunk[None].to(self._device))["estimates"][0].float().cpu()
        return self._adder.add(self._order(estimates, self._adder.overlap()), last=last)
