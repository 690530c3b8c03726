"""How near in the sequence are tokens that are near in the grid, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mamba_core.scan_orders.continuity import continuity_of, steps
from mamba_registry.specs import Continuity


@dataclass(frozen=True)
class Locality:
    """Statistics of one path over a grid; extra tokens and empty slots are left out."""

    unit_steps: float
    """Share of steps to a 4-neighbour (6-neighbour in volumes); 1 for a path of one token."""
    mean_jump: float
    """Mean length of a step, in cells along the axes (Manhattan)."""
    neighbour_distance: float
    """Mean distance in the sequence of two tokens that are neighbours in the grid."""
    continuity: Continuity
    """The largest kind of step."""


def locality(path: Tensor, shape: tuple[int, ...]) -> Locality:
    """Measure one path.

    :param path: int64 ``(L,)``.
    """
    jumps = steps(path, shape).abs().sum(1).double()
    far = _neighbour_distances(path, shape)
    return Locality(
        unit_steps=float((jumps == 1).double().mean()) if len(jumps) else 1.0,
        mean_jump=float(jumps.mean()) if len(jumps) else 0.0,
        neighbour_distance=float(far.mean()) if len(far) else 0.0,
        continuity=continuity_of(path, shape),
    )


def _neighbour_distances(path: Tensor, shape: tuple[int, ...]) -> Tensor:
    path = path[(path >= 0) & (path < math.prod(shape))]
    if len(path) != math.prod(shape):  # one part of a partition: its tokens are no neighbours
        return torch.empty(0)
    rank = torch.empty_like(path)
    rank[path] = torch.arange(len(path), device=path.device)
    grid = rank.view(shape)
    return torch.cat([grid.diff(dim=axis).abs().flatten().double() for axis in range(len(shape))])
