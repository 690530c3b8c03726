"""The right level for every voice, from sums over the whole recording."""

from __future__ import annotations

import torch
from torch import Tensor

_RIDGE = 1e-9
"""Two voices may be the same wave; then they share the level."""


class LevelFit:
    """Least squares: the gains with which the sum of the estimates is closest to the mixture.

    A scale-invariant loss leaves level and sign of every source free; both are put right here,
    so a gain may be negative. Only a few sums are kept, in float64.

    :param sources: number of estimates.
    """

    def __init__(self, sources: int) -> None:
        self._products = torch.zeros(sources, sources, dtype=torch.float64)
        self._targets = torch.zeros(sources, dtype=torch.float64)

    def add(self, estimates: Tensor, mixture: Tensor) -> None:
        """Take a stretch into account, ``(sources, samples)`` and ``(samples,)``."""
        wide, target = estimates.double(), mixture.double()
        self._products += wide @ wide.T
        self._targets += wide @ target

    def gains(self) -> Tensor:
        """Return the factors, float32 ``(sources,)``; 0 for a silent estimate."""
        norms = self._products.diagonal().sqrt()
        scale = torch.where(norms > 0, 1 / norms, torch.zeros_like(norms))
        products = scale[:, None] * self._products * scale
        ridge = torch.eye(len(scale), dtype=torch.float64)
        ridge = torch.where(scale[:, None] > 0, _RIDGE * ridge, ridge)
        return (torch.linalg.solve(products + ridge, scale * self._targets) * scale).float()
