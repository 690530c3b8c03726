"""What the networks share: their interface, the packed graphs, message passing by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, GINEConv, SAGEConv

from mamba_graph.networks.config import Conv, Norm
from mamba_graph.nn.gated_gcn import GatedGCNConv

READS_EDGES = ("gin", "gatedgcn")
"""Message passing that takes edge features."""


@dataclass(frozen=True, eq=False)
class PackedGraphs:
    """The graphs of a batch, nodes packed one graph after another."""

    edge_index: Tensor
    """int64 ``(2, edges)``."""
    batch: Tensor
    """int64 ``(nodes,)``, ascending."""
    cu_seqlens: Tensor
    """Where each graph starts and the total, ``(graphs + 1,)``."""
    context: dict[str, Tensor] = field(default_factory=dict)
    """What node orders read."""

    @property
    def count(self) -> int:
        """Of graphs."""
        return self.cu_seqlens.shape[0] - 1


class GraphNetwork(nn.Module, ABC):
    """From node and edge states to node states."""

    draws: bool = False
    """Whether what it computes depends on ``context["noise"]``."""

    @abstractmethod
    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """Run all layers.

        :param x: ``(nodes, d_model)``.
        :param edges: ``(edges, d_model)``, their states.
        :returns: a tensor like ``x``.
        """


def make_convs(name: Conv | None, channels: int, depth: int) -> list[Any]:
    """Build the message passing of each layer of a stack; the last does not update edges.

    Without a name each layer has None.
    """
    return [_conv(name, channels, layer == depth - 1) for layer in range(depth)]


def _conv(name: Conv | None, channels: int, last: bool) -> nn.Module | None:
    """Message passing from ``channels`` to as many.

    GIN is PyG's GINE: it adds the edges' states, which are all alike where edges have no
    features.
    """
    if name is None:
        return None
    if name == "gatedgcn":
        return GatedGCNConv(channels, updates=not last)
    if name == "gin":
        mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))
        return GINEConv(mlp, train_eps=True)
    if name == "gat":
        return GATConv(channels, channels // 4, heads=4)
    return (GCNConv if name == "gcn" else SAGEConv)(channels, channels)


def norm_arguments(norm: Norm | None) -> dict[str, bool]:
    """Return what a norm of PyG's is built with: batch norm takes a batch of one node too."""
    return {"allow_single_element": True} if norm == "batch_norm" else {}


def edge_arguments(name: Conv | None, edges: Tensor) -> dict[str, Tensor]:
    """Return what message passing takes besides nodes and edge index."""
    return {"edge_attr": edges} if name in READS_EDGES else {}
