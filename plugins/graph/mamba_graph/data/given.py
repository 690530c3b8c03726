"""Graphs handed to a predictor: ``Data``, NetworkX graphs, lists of these, csv pairs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import networkx as nx
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.data.data import BaseData

from mamba_graph.data.check import GraphError
from mamba_graph.data.config import Tables
from mamba_graph.data.read import both_ways, read_table, read_tables


def given_graphs(graphs: Any) -> list[Any]:
    """Return a list of ``Data`` of whatever was handed over: one, or any iterable of graphs.

    :raises GraphError: for an empty list, or a NetworkX graph that cannot be used.
    """
    if isinstance(graphs, Batch):
        graphs = graphs.to_data_list()
    single = isinstance(graphs, BaseData | nx.Graph | str) or not isinstance(graphs, Iterable)
    graphs = [graphs] if single else list(graphs)
    if not graphs:
        raise GraphError("no graphs: the list is empty")
    return [from_networkx(g) if isinstance(g, nx.Graph) else g for g in graphs]


def from_networkx(graph: nx.Graph) -> Data:
    """Return a NetworkX graph as ``Data``, nodes in its own order.

    Node features are the attribute ``x`` of every node, a number or several; edge features the
    attribute ``edge_attr``. Undirected edges go both ways.

    :raises GraphError: when only some nodes or edges have the attribute, or it is no number.
    """
    place = {node: k for k, node in enumerate(graph)}
    ends = [(place[u], place[v]) for u, v in graph.edges()]
    edge_index = torch.tensor(ends, dtype=torch.int64).reshape(-1, 2).T
    x = _attribute([values for _, values in graph.nodes(data=True)], "x", "node")
    attr = _attribute([values for *_, values in graph.edges(data=True)], "edge_attr", "edge")
    if not graph.is_directed():
        edge_index, attr = both_ways(edge_index, attr)
    return Data(x=x, edge_index=edge_index, edge_attr=attr, num_nodes=len(place))


def _attribute(values: list[dict[str, Any]], name: str, what: str) -> torch.Tensor | None:
    have = [name in each for each in values]
    if not any(have):
        return None
    if not all(have):
        raise GraphError(f"{what} {have.index(False)} has no attribute {name!r}, others have one")
    try:
        rows = [torch.as_tensor(each[name], dtype=torch.float32).reshape(-1) for each in values]
        return torch.stack(rows)
    except (TypeError, ValueError, RuntimeError) as error:
        raise GraphError(
            f"the attribute {name!r} must hold as many numbers for every {what}: {error}"
        ) from error


def read_pair(nodes: Path, graph: str | None, directed: bool) -> tuple[list[Any], list[Data]]:
    """Return the graphs of ``NAME.csv`` and ``NAME_edges.csv``, and their names.

    :param graph: column with the graph; a table without it is one graph.
    """
    edges = nodes.with_name(f"{nodes.stem}_edges{nodes.suffix}")
    table = read_table(nodes, ("id",))
    several = graph is not None and graph in table
    names = list(dict.fromkeys(table[graph])) if several else [nodes.stem]
    column = graph if several else None
    source = Tables(nodes=nodes, edges=edges, directed=directed, graph=column)
    return names, read_tables(source)
