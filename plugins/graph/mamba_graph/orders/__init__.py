"""In which order the nodes of a graph are read: data orders, registered by name.

``NodeOrder`` is the base of one's own: sort keys in, an order out. ``context_of`` makes what all
of them read; ``AddNodeRank`` works an order out once, ahead of training.
"""

from __future__ import annotations

from mamba_graph.orders.base import NodeOrder
from mamba_graph.orders.graphs import Graphs, context_of, edges_of, node_noise
from mamba_graph.orders.transform import AddNodeRank

__all__ = ["AddNodeRank", "Graphs", "NodeOrder", "context_of", "edges_of", "node_noise"]
