"""Scale of a window: its own, or that of all observations so far."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPS = 1e-5
"""Added to variances (in the data's scaling), so that a constant window stays finite."""


def window_scale(past: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and population deviation over the observed steps.

    :param past: ``(batch, steps, channels)``.
    :returns: two ``(batch, 1, channels)``; 0 and about 0 where nothing was observed.
    """
    count = observed.sum(1, keepdim=True).clamp(min=1).to(past)
    known = torch.where(observed, past, 0)
    center = known.sum(1, keepdim=True) / count
    variance = torch.where(observed, past - center, 0).square().sum(1, keepdim=True) / count
    return center, (variance + EPS).sqrt()


def carried(past: Tensor, observed: Tensor) -> Tensor:
    """Fill what was not observed: with the last value before, at the start with the first after.

    :param past: ``(batch, steps, channels)``.
    """
    steps = torch.arange(past.shape[1], device=past.device)[None, :, None]
    last = torch.where(observed, steps, -1).cummax(1).values
    first = observed.int().argmax(1, keepdim=True)
    known = torch.where(observed, past, 0)  # a window without any value is all 0
    return known.gather(1, torch.where(last < 0, first, last))


@dataclass(frozen=True)
class RunningScale:
    """Sums over all observations of some streams, in float64; constant in size.

    Sums are of differences to the first observation: squares of large values would drown the
    variance.
    """

    count: Tensor
    """``(streams,)``, like all of these."""
    shift: Tensor
    total: Tensor
    squares: Tensor

    @classmethod
    def start(cls, streams: int, device: torch.device) -> RunningScale:
        """Nothing observed yet."""
        zero = torch.zeros(streams, dtype=torch.float64, device=device)
        return cls(zero, zero, zero, zero)

    def read(self, x: Tensor, seen: Tensor) -> tuple[Tensor, RunningScale]:
        """Scale each observation by all up to and with itself.

        :param x: ``(streams, steps)``.
        :param seen: bool, like ``x``.
        :returns: normalised values like ``x``, 0 where nothing was seen, and the new sums.
        """
        if not x.shape[1]:
            return x, self
        first = seen.int().argmax(1, keepdim=True)
        fresh = x.double().gather(1, first)[:, 0]
        shift = torch.where((self.count == 0) & seen.any(1), fresh, self.shift)
        known = torch.where(seen, x.double() - shift[:, None], 0.0)
        count = self.count[:, None] + seen.double().cumsum(1)
        total = self.total[:, None] + known.cumsum(1)
        squares = self.squares[:, None] + known.square().cumsum(1)
        center, scale = _moments(count, total, squares)
        z = torch.where(seen, (known - center) / scale, 0.0)
        after = RunningScale(count[:, -1], shift, total[:, -1], squares[:, -1])
        return z.to(x.dtype), after

    def now(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation so far, two ``(streams,)`` in float64."""
        center, scale = _moments(self.count, self.total, self.squares)
        return center + self.shift, scale


def _moments(count: Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    count = count.clamp(min=1)
    center = total / count
    variance = (squares / count - center.square()).clamp(min=0)
    return center, (variance + EPS).sqrt()
