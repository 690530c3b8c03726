"""Large graphs in parts, without compiled packages."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

Ints = NDArray[np.int64]


def partition(edge_index: Tensor, nodes: int, parts: int, seed: int) -> list[Tensor]:
    """Cut a graph into connected regions of about equal size.

    Regions grow at once from drawn nodes, each by one ring of neighbours per round, and stop at
    ``nodes / parts`` nodes; what is left (other components, enclosed nodes) fills the small ones.

    :returns: the nodes of each part, int64, ascending; every node is in one part.
    """
    if parts == 1:
        return [torch.arange(nodes)]
    source, target = edge_index.cpu().numpy()
    ones = np.ones(len(source), dtype=np.int8)
    near = sparse.csr_array((ones, (source, target)), shape=(nodes, nodes))
    drawn = np.random.default_rng(seed)
    limit = -(-nodes // parts)
    owner = np.full(nodes, -1)
    rims = [np.array([node]) for node in drawn.choice(nodes, min(parts, nodes), replace=False)]
    for part, rim in enumerate(rims):
        owner[rim] = part
    sizes = np.bincount(owner[owner >= 0], minlength=parts)
    while any(len(rim) for rim in rims):
        for part, rim in enumerate(rims):
            reached = np.unique(near[rim].indices) if len(rim) else rim
            reached = reached[owner[reached] < 0]
            reached = drawn.permutation(reached)[: limit - sizes[part]]
            owner[reached] = part
            sizes[part] += len(reached)
            rims[part] = reached
    left = np.flatnonzero(owner < 0)
    room = np.repeat(np.arange(parts), np.maximum(limit - sizes, 0))
    owner[left] = room[: len(left)]
    return [torch.from_numpy(np.flatnonzero(owner == part)) for part in range(parts)]


def induced(edge_index: Tensor, kept: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Return the edges between some nodes, renumbered, and which edges these were.

    :param kept: int64, ascending.
    :returns: int64 ``(2, edges)`` and bool ``(edges of the whole,)``.
    """
    place = torch.full((nodes,), -1)
    place[kept] = torch.arange(len(kept))
    moved = place[edge_index]
    inside = (moved >= 0).all(0)
    return moved[:, inside], inside
