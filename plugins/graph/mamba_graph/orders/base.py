"""The base of node orders: a subclass says by which keys nodes are sorted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor

from mamba_graph.orders.graphs import Graphs


class NodeOrder(ABC):
    """A :class:`~mamba_core.scan_orders.DataOrder` of packed graphs, made of sort keys.

    ::

        @registry.scan_order("heaviest-last", dims=None)
        class HeaviestLast(NodeOrder):
            def keys(self, graphs):
                return [graphs.features[:, 0]]
    """

    inputs: tuple[str, ...] = ("edge_index", "batch")
    """What must be in the context; one that draws names ``noise`` too."""
    unique: bool = False
    """Whether the keys tell all nodes of a graph apart, so that ties need not be looked into."""

    @abstractmethod
    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """Return tensors ``(N,)`` to sort the nodes of each graph by, the most important first.

        Whatever they are, they must not depend on the nodes' numbers.
        """

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return the packed order, int64 ``(N,)``: the places of a graph hold its own nodes."""
        graphs = Graphs.of(context)
        return graphs.sorted_by(self.keys(graphs), unique=self.unique)
