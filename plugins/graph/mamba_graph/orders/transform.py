"""An order worked out once per graph, as a PyG transform."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from mamba_core import scan_orders
from mamba_core.scan_orders import DataOrder
from mamba_graph.data.check import check_graph
from mamba_graph.orders.graphs import context_of
from mamba_registry.errors import ScanOrderError


class AddNodeRank(BaseTransform):
    """Store each node's place under an order as ``data.rank``, int64 ``(N,)``.

    Read by the order ``node-rank``. Places count from 0 in every graph: batching does not shift
    them.

    :param order: the name of a node order with one path.
    """

    def __init__(self, order: str) -> None:
        found = scan_orders.get(order)
        if not isinstance(found, DataOrder) or scan_orders.paths(found) != 1:
            raise ScanOrderError(f"{order!r} is no order of nodes with one path")
        self.name, self.order = order, found

    def forward(self, data: Any) -> Data:
        """Add the ranks to a graph.

        :raises GraphError: for a graph that cannot be used.
        """
        nodes = check_graph(data, "the graph").num_nodes
        batch = torch.zeros(nodes, dtype=torch.int64, device=data.edge_index.device)
        edges = torch.tensor([0, nodes], dtype=torch.int32, device=batch.device)
        order = self.order(context_of(data.edge_index, batch, edges, features=data.x))
        data.rank = scan_orders.inverse(order).positions
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
