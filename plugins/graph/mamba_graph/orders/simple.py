"""Orders without a search: by degree, by chance, by a rank worked out ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from mamba_graph.orders.base import NodeOrder
from mamba_graph.orders.graphs import Graphs


class Degree(NodeOrder):
    """Nodes of few edges first, hubs last, where they see the longest context.

    With noise the order of Graph-Mamba (2402.00789), which draws among nodes of one degree; its
    "permuted degree" has the same distribution.

    :param noise: nodes of one degree in a drawn order instead of the tie rule's.
    """

    def __init__(self, noise: bool = False) -> None:
        self.noise = noise
        self.inputs = ("edge_index", "batch", "noise") if noise else NodeOrder.inputs

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        drawn = [graphs.noise] if self.noise and graphs.noise is not None else []
        return [graphs.degree, *drawn]


class Shuffled(NodeOrder):
    """A drawn order of each graph's nodes."""

    inputs = ("edge_index", "batch", "noise")

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        assert graphs.noise is not None
        return [graphs.noise]


class Buckets(NodeOrder):
    """Nodes drawn into buckets, each bucket by degree, one bucket after another.

    Graph-Mamba reads each bucket as a sequence of its own; here the state runs on.

    :param count: of buckets.
    """

    inputs = ("edge_index", "batch", "noise")

    def __init__(self, count: Annotated[int, Field(ge=1)] = 3) -> None:
        self.count = count

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        assert graphs.noise is not None
        # the leading digits choose the bucket, the rest is as good as a draw of its own
        spread = graphs.noise * self.count
        return [spread.floor(), graphs.degree, spread.frac()]


class Ranked(NodeOrder):
    """By places worked out ahead, see :class:`~mamba_graph.orders.AddNodeRank`."""

    inputs = ("edge_index", "batch", "rank")

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """See :meth:`NodeOrder.__call__`; ranks are places, so there are no ties to break."""
        order = context["rank"].argsort(stable=True)
        return order[context["batch"][order].argsort(stable=True)]

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """Nothing besides the rank."""
        return []
