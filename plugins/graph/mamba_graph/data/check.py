"""Whether a graph can be used, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import torch
from torch_geometric.data import Data, HeteroData


class GraphError(ValueError):
    """A graph that cannot be used; the message names it, what is wrong, and the way out."""


def check_graph(data: Any, name: str) -> Data:
    """Return the graph, or say what is wrong with it.

    Isolated nodes, one-node graphs, several components, loops, duplicate edges and graphs
    without edges are fine. A graph without nodes is not: it has nothing to read.

    :param name: of the graph, for the message.
    :raises GraphError: for another kind of object, no nodes, edges of nodes that do not exist,
        tensors of the wrong size, values that are not finite. Answers are not looked at.
    """
    if isinstance(data, HeteroData):
        raise GraphError(
            f"{name} has nodes or edges of several types (HeteroData): call .to_homogeneous() first"
        )
    if not isinstance(data, Data):
        raise GraphError(f"{name} is a {type(data).__name__}, not a torch_geometric Data")
    if data.edge_index is None:
        raise GraphError(f"{name} has no edge_index; without edges give int64 zeros of (2, 0)")
    _check_edges(data.edge_index, name)
    nodes = _nodes(data, name)
    if nodes == 0:
        raise GraphError(f"{name} has no nodes: leave it out")
    edges = data.edge_index
    if edges.numel() and (int(edges.min()) < 0 or int(edges.max()) >= nodes):
        raise GraphError(
            f"{name}: edge_index names nodes {int(edges.min())} to {int(edges.max())}, there are "
            f"{nodes}, numbered from 0"
        )
    _check_values(data.x, nodes, f"{name}: x", "node")
    _check_values(data.edge_attr, edges.shape[1], f"{name}: edge_attr", "edge")
    return data


def _check_edges(edges: Any, name: str) -> None:
    if not torch.is_tensor(edges):
        raise GraphError(f"{name}: edge_index is a {type(edges).__name__}, not a tensor")
    if edges.dim() != 2 or edges.shape[0] != 2 or edges.dtype != torch.int64:
        raise GraphError(
            f"{name}: edge_index is {edges.dtype} of shape {tuple(edges.shape)}; int64 (2, edges) "
            "is expected"
        )


def _nodes(data: Data, name: str) -> int:
    if data.x is None and "num_nodes" not in data:
        raise GraphError(
            f"{name} has neither x nor num_nodes: without them isolated nodes would be lost"
        )
    return int(data.num_nodes or 0)


def _check_values(values: Any, rows: int, name: str, unit: str) -> None:
    if values is None:
        return
    if not torch.is_tensor(values) or values.is_complex():
        kind = values.dtype if torch.is_tensor(values) else type(values).__name__
        raise GraphError(f"{name} is a {kind}, not a tensor of real numbers")
    if values.dim() > 2 or values.shape[:1] != (rows,):
        raise GraphError(
            f"{name} has shape {tuple(values.shape)}; one row for each of {rows} {unit}s is "
            "expected"
        )
    finite = values.float().isfinite()  # as the models read them
    if not finite.all():
        row = int((~finite.reshape(rows, -1)).any(1).nonzero()[0])
        raise GraphError(f"{name} is not finite at {unit} {row}: fill or drop the value")
