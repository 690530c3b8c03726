"""Graphs as samples: named tensors, node ids shuffled, packed into a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from mamba_core.training.data import epoch_order
from mamba_graph.data.check import GraphError, check_graph
from mamba_graph.data.encode import degree_columns, encoding_of
from mamba_graph.networks.config import GraphConfig

Sample = dict[str, Tensor]
INPUTS = ("x", "edge_index", "edge_attr", "encoding")
"""Tensors of one graph that the model reads."""
EVAL_SEED = 0
"""Of what is drawn in validation, test and use (node numbers, unjoined pairs): drawn once."""


def prepared(data: object, config: GraphConfig, name: str) -> Sample:
    """Check a graph and return what the model reads of it.

    :raises GraphError: for a graph that cannot be used or does not fit the model.
    """
    graph = check_graph(data, name)
    x = _node_features(graph, config, name)
    edge_attr = _edge_features(graph, config)
    for what, have, expected in (
        ("node", x.shape[1], config.features),
        ("edge", edge_attr.shape[1], config.edge_features),
    ):
        if have != expected:
            field = "features" if what == "node" else "edge_features"
            raise GraphError(
                f"{name} has {have} numbers per {what}, the model reads {field} = {expected}"
            )
    _check_categories(x, config.categories, name)
    _check_categories(edge_attr, config.edge_categories, name)
    return {
        "x": x,
        "edge_index": graph.edge_index,
        "edge_attr": edge_attr,
        "encoding": encoding_of(graph, config.encoding),
    }


def _node_features(graph: Data, config: GraphConfig, name: str) -> Tensor:
    if graph.x is None and not config.degrees:
        raise GraphError(
            f"{name} has no node features, the model reads features = {config.features}: give them "
            "as x, or build a model with degrees = true, which reads degrees in their place"
        )
    if graph.x is not None and config.degrees:
        raise GraphError(
            f"{name} has node features, the model reads degrees (degrees = true): take x away, or "
            "build a model with degrees = false"
        )
    return degree_columns(graph, config.features) if graph.x is None else columns(graph.x)


def _edge_features(graph: Data, config: GraphConfig) -> Tensor:
    edges = graph.edge_index.shape[1]
    if not edges:  # a graph without edges has nothing from which to tell how many there would be
        return torch.zeros(0, config.edge_features)
    if not config.edge_features or graph.edge_attr is None:
        return torch.zeros(edges, 0)
    return columns(graph.edge_attr)


def columns(values: Tensor) -> Tensor:
    """Return float32 with a row each, ``(rows, columns)``; of no rows the columns stay."""
    return values.float()[:, None] if values.dim() == 1 else values.float()


def _check_categories(values: Tensor, categories: tuple[int, ...], name: str) -> None:
    if not categories or not len(values):
        return
    most = torch.tensor(categories)
    if bool((values < 0).any()) or bool((values >= most).any()):
        raise GraphError(
            f"{name}: a feature is no number of a category: columns have {categories} of them"
        )


def shuffled(sample: Sample, seed: int, epoch: int = 0) -> Sample:
    """Renumber the nodes at random: what a file's order tells must not be learned.

    Everything with a row per node (``x``, ``encoding``, ``node_*``) moves along, and edges and
    ``pairs`` get the new numbers.

    :param seed, epoch: of the draw.
    """
    nodes = len(sample["x"])
    order = epoch_order(nodes, seed, epoch)
    place = torch.empty_like(order)
    place[order] = torch.arange(nodes)
    moved = dict(sample)
    for name, value in sample.items():
        if name in ("x", "encoding") or name.startswith("node_"):
            moved[name] = value[order]
        elif name in ("edge_index", "pairs"):
            moved[name] = place[value]
    return moved


def packed(samples: Sequence[Sample]) -> Sample:
    """Put graphs together: nodes and edges one graph after another.

    :returns: the concatenated tensors; ``batch`` ``(nodes,)`` and ``cu_seqlens``
        ``(graphs + 1,)``, int32. What is a whole graph's (``y``) stands first.
    """
    sizes = torch.tensor([len(sample["x"]) for sample in samples])
    starts = sizes.cumsum(0) - sizes
    batch: Sample = {}
    for name in sorted(samples[0], key=lambda n: n in INPUTS):
        values = [sample[name] for sample in samples]
        if name in ("edge_index", "pairs"):
            values = [v + start for v, start in zip(values, starts, strict=True)]
            batch[name] = torch.cat(values, dim=1)
        elif name == "y":
            batch[name] = torch.stack(values)
        else:
            batch[name] = torch.cat(values)
    batch["batch"] = torch.repeat_interleave(torch.arange(len(samples)), sizes)
    batch["cu_seqlens"] = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]).int()
    return batch


def example_graph(config: GraphConfig, nodes: int, generator: torch.Generator) -> Sample:
    """Return a random connected graph, its features drawn, for examples and tests."""
    back = torch.rand(nodes, generator=generator)[1:]
    tree = torch.stack([torch.arange(1, nodes), (back * torch.arange(1, nodes)).long()])
    more = torch.randint(nodes, (2, nodes // 2), generator=generator)
    edges = torch.cat([tree, more], dim=1)
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    x = _features(nodes, config.features, config.categories, generator)
    edge_attr = _features(edges.shape[1], config.edge_features, config.edge_categories, generator)
    data = Data(x=x, edge_index=edges, num_nodes=nodes)
    encoding = encoding_of(data, config.encoding)
    return {"x": x, "edge_index": edges, "edge_attr": edge_attr, "encoding": encoding}


def _features(
    rows: int, columns: int, categories: tuple[int, ...], generator: torch.Generator
) -> Tensor:
    if not categories:
        return torch.randn(rows, columns, generator=generator)
    drawn = torch.rand(rows, columns, generator=generator)
    return (drawn * torch.tensor(categories)).floor()
