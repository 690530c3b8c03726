"""Orders by a vector that belongs to the graph: PageRank, eigenvector centrality, Fiedler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import eigsh
from torch import Tensor

from mamba_graph.orders.base import NodeOrder
from mamba_graph.orders.graphs import Graphs
from mamba_graph.orders.search import Relabelled

Steps = Annotated[int, Field(ge=1)]
_DENSE = 500
"""Components up to this size are decomposed whole."""


def rounded(key: Tensor) -> Tensor:
    """Return float32 of a float64 key: sums in another order are the same key then."""
    return key.float()


class PageRank(NodeOrder):
    """By PageRank, the least first.

    :param damping: share that follows an edge; the rest goes anywhere in the graph.
    :param steps: of the power iteration, in float64.
    """

    def __init__(
        self, damping: Annotated[float, Field(gt=0, lt=1)] = 0.85, steps: Steps = 50
    ) -> None:
        self.damping, self.steps = damping, steps

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        degree = graphs.degree.double()
        size = _total(torch.ones_like(degree), graphs.batch)
        rank = 1 / size
        for _ in range(self.steps):
            lost = _total(torch.where(degree > 0, 0, rank), graphs.batch)
            moved = graphs.gathered(rank / degree.clamp(min=1))
            rank = (1 - self.damping) / size + self.damping * (moved + lost / size)
        return [rounded(rank)]


class Eigenvector(NodeOrder):
    """By eigenvector centrality, the least central first.

    Power iteration with a self-loop on every node, which makes it converge on bipartite graphs
    too; components share a graph's scale, so all but the strongest fade.

    :param steps: of the iteration, in float64.
    """

    def __init__(self, steps: Steps = 50) -> None:
        self.steps = steps

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        value = torch.ones(graphs.nodes, dtype=torch.float64, device=graphs.batch.device)
        for _ in range(self.steps):
            value = value + graphs.gathered(value)
            most = torch.zeros_like(value).scatter_reduce(0, graphs.batch, value, "amax")
            value = value / most[graphs.batch]
        return [rounded(value)]


def _total(values: Tensor, batch: Tensor) -> Tensor:
    """The sum over each node's graph, at the node."""
    return torch.zeros_like(values).index_add(0, batch, values)[batch]


class Fiedler(NodeOrder):
    """By the second eigenvector of each component's Laplacian; components one after another.

    Worked out on the CPU. The sign is the one with the larger sum of cubes, where that decides;
    on symmetric graphs neither the sign nor the vector is unique, and the order may then depend
    on the nodes' numbers.
    """

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        relabelled = Relabelled.of(graphs, [graphs.degree])
        root = relabelled.roots[relabelled.component]
        vector = np.zeros(graphs.nodes)
        for members in relabelled.members():
            if len(members) > 2:
                part = relabelled.adjacency[members][:, members]
                vector[members] = _second(laplacian(part.astype(float)))
        device = graphs.batch.device
        return [relabelled.back(root).to(device), rounded(relabelled.back(vector)).to(device)]


def _second(matrix: object) -> np.ndarray:
    size = matrix.shape[0]  # type: ignore[attr-defined]
    if size <= _DENSE:
        vector = np.linalg.eigh(matrix.toarray())[1][:, 1]  # type: ignore[attr-defined]
    else:
        start = np.cos(np.arange(size))  # any fixed one; ARPACK's own is drawn
        values, vectors = eigsh(matrix, k=2, sigma=-1e-4, v0=start)
        vector = vectors[:, values.argsort()[1]]
    return -vector if (vector**3).sum() < 0 else vector
