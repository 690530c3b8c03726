"""A batch of graphs as the orders see it, and how its nodes are sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamba_graph.orders.mixing import fractions, hashed_rows, mixed

ROUNDS = 3
"""Rounds of colour refinement by which ties are broken."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graphs of one batch, nodes packed one graph after another.

    Edges count as they are stored: an undirected graph stores both directions, and a duplicate
    counts twice.
    """

    edge_index: Tensor
    """int64 ``(2, E)``, from, to."""
    batch: Tensor
    """int64 ``(N,)``, the graph of each node, ascending."""
    features: Tensor | None = None
    """``(N, F)``, what besides the edges tells nodes apart."""
    noise: Tensor | None = None
    """float ``(N,)`` in [0, 1)."""

    @classmethod
    def of(cls, context: Mapping[str, Tensor]) -> Graphs:
        """Take what a data order is handed."""
        return cls(
            context["edge_index"],
            context["batch"],
            context.get("features"),
            context.get("noise"),
        )

    @property
    def nodes(self) -> int:
        """N, of all graphs together."""
        return self.batch.shape[0]

    @property
    def degree(self) -> Tensor:
        """Edges that leave each node, int64 ``(N,)``."""
        source = self.edge_index[0]
        return torch.zeros_like(self.batch).index_add(0, source, torch.ones_like(source))

    def gathered(self, values: Tensor) -> Tensor:
        """Return the sum over the edges that reach each node, ``(N,) -> (N,)``."""
        source, target = self.edge_index
        return torch.zeros_like(values).index_add(0, target, values[source])

    @property
    def ties(self) -> tuple[Tensor, ...]:
        """What breaks ties, the first first: colours by structure, then with features.

        Colours of three rounds of Weisfeiler-Leman refinement, as hashes: which of two nodes
        comes first says nothing, but it does not depend on their numbers.
        """
        structure = self._refined(mixed(self.degree))
        if self.features is None or not self.features.shape[1]:
            return (structure,)
        return structure, self._refined(hashed_rows(self.features.detach()))

    def _refined(self, colour: Tensor) -> Tensor:
        for _ in range(ROUNDS):
            colour = mixed(mixed(colour) + 3 * self.gathered(mixed(colour + 1)))
        return colour

    def sorted_by(self, keys: Sequence[Tensor], *, unique: bool = False) -> Tensor:
        """Return the order, int64 ``(N,)``: by graph, then by the keys, ascending.

        Ties go by :attr:`ties`, and by number only where these are equal too.

        :param unique: the keys tell all nodes of a graph apart, there are no ties.
        """
        order = torch.arange(self.nodes, device=self.batch.device)
        ties = () if unique else self.ties
        for key in reversed([self.batch, *keys, *ties]):
            order = order[key[order].argsort(stable=True)]
        return order


def node_noise(batch: Tensor, cu_seqlens: Tensor, draw: int = 0) -> Tensor:
    """Return numbers in [0, 1) by a node's place in its graph, the same in any batch.

    :param batch: int64 ``(N,)``, ascending.
    :param cu_seqlens: where each graph starts, ``(graphs + 1,)``.
    :param draw: which of many independent draws.
    """
    place = torch.arange(batch.shape[0], device=batch.device) - cu_seqlens.long()[batch]
    return fractions(mixed(mixed(place) + 2 * draw + 1))


def edges_of(batch: Tensor, graphs: int) -> Tensor:
    """Return where each graph starts and the total, int32 ``(graphs + 1,)``.

    :param batch: int64 ``(N,)``, ascending.
    """
    numbers = torch.arange(graphs + 1, device=batch.device)
    return torch.searchsorted(batch, numbers).to(torch.int32)


def context_of(
    edge_index: Tensor,
    batch: Tensor,
    cu_seqlens: Tensor,
    *,
    features: Tensor | None = None,
    noise: Tensor | None = None,
    rank: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the context that node orders read; see :class:`Graphs` for the shapes.

    :param noise: None draws by place (:func:`node_noise`), the same every time.
    :param rank: places worked out ahead by :class:`~mamba_graph.orders.AddNodeRank`.
    """
    given = {
        "features": features,
        "rank": rank,
        "noise": node_noise(batch, cu_seqlens) if noise is None else noise,
    }
    context = {"edge_index": edge_index, "batch": batch, "cu_seqlens": cu_seqlens}
    return context | {name: value for name, value in given.items() if value is not None}
