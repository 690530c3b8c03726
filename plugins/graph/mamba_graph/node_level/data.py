"""Graphs with answers for nodes: whole, or in regions drawn anew in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamba_core.training.data import epoch_order
from mamba_graph.data.check import GraphError
from mamba_graph.data.partition import induced, partition
from mamba_graph.data.read import read
from mamba_graph.data.samples import EVAL_SEED, Sample, packed, prepared, shuffled
from mamba_graph.node_level.config import NodeClassifierConfig, NodesData

PARTS = ("train", "val", "test")


class NodesDataset:
    """Training, validation and test nodes.

    :param data: where the graphs come from.
    :param model: says what is read of them.
    """

    def __init__(self, data: NodesData, model: NodeClassifierConfig) -> None:
        self.data = data
        self.graphs: list[Sample] = []
        self.masks: list[dict[str, Tensor]] = []
        for number, graph in enumerate(read(data.source)):
            sample = prepared(graph, model, f"graph {number}")
            y = _answers(graph, model, number)
            self.graphs.append({**sample, "node_y": y.clamp(min=0)})
            self.masks.append(_masks(graph, data, y >= 0))

    def train(self, *, seed: int) -> NodeSplit:
        """Return the graphs, or their regions, with the nodes to learn from."""
        return NodeSplit(self._masked("train"), seed, self.data.parts)

    def val(self, *, seed: int) -> NodeSplit:
        """Return the graphs with the nodes to choose a model by."""
        return NodeSplit(self._masked("val"), None, 1)

    def test(self, *, seed: int) -> NodeSplit:
        """Return the graphs with the nodes to report."""
        return NodeSplit(self._masked("test"), None, 1)

    def _masked(self, part: str) -> list[Sample]:
        return [
            {**graph, "node_mask": masks[part]}
            for graph, masks in zip(self.graphs, self.masks, strict=True)
        ]


class NodeSplit:
    """Graphs of which some nodes count.

    :param graphs: with ``node_y`` and ``node_mask``.
    :param seed: of node numbers and regions, drawn at every visit; None draws the numbers once.
    :param parts: regions per graph.
    """

    def __init__(self, graphs: Sequence[Sample], seed: int | None, parts: int) -> None:
        self.graphs, self.seed, self.parts = graphs, seed, parts
        self._regions = lru_cache(maxsize=len(graphs))(self._cut)

    def __len__(self) -> int:
        return len(self.graphs) * self.parts

    def sample(self, epoch: int, index: int) -> Sample:
        """Return one graph's or region's tensors, its nodes renumbered."""
        number, part = divmod(index, self.parts)
        graph = self.graphs[number]
        if self.parts > 1:
            graph = region(graph, self._regions(epoch, number)[part])
        if self.seed is None:
            return shuffled(graph, EVAL_SEED)
        return shuffled(graph, self.seed, epoch * len(self) + index)

    def _cut(self, epoch: int, number: int) -> list[Tensor]:
        graph = self.graphs[number]
        nodes = len(graph["x"])
        seed = int(epoch_order(2**20, self.seed or 0, epoch)[number % 2**20])
        return partition(graph["edge_index"], nodes, self.parts, seed)

    def collate(self, graphs: Sequence[Sample]) -> Sample:
        """Pack graphs into a batch."""
        return packed(graphs)

    def __getstate__(self) -> dict[str, Any]:
        # the cache holds a function that does not travel to workers
        return {"graphs": self.graphs, "seed": self.seed, "parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def region(graph: Sample, kept: Tensor) -> Sample:
    """Return some nodes of a graph and the edges between them."""
    edges, inside = induced(graph["edge_index"], kept, len(graph["x"]))
    cut = {name: value[kept] for name, value in graph.items() if name not in _EDGES}
    return {**cut, "edge_index": edges, "edge_attr": graph["edge_attr"][inside]}


_EDGES = ("edge_index", "edge_attr")


def _answers(graph: Any, model: NodeClassifierConfig, number: int) -> Tensor:
    """Classes, -1 where not known: of nodes whose ``y`` is not finite or negative."""
    if graph.y is None or len(graph.y) != graph.num_nodes:
        raise GraphError(f"graph {number} has no answer y for each of its nodes")
    y = graph.y.reshape(-1)
    y = torch.where(y.isfinite() & (y >= 0), y, -1)
    strange = y[(y != y.long()) | (y >= model.classes)]
    if len(strange):
        raise GraphError(
            f"graph {number} has nodes of class {strange[0]:g}; the model knows 0 to "
            f"{model.classes - 1}"
        )
    if not (y >= 0).any():
        raise GraphError(f"graph {number} has no node whose class is known")
    return y.long()


def _masks(graph: Any, data: NodesData, known: Tensor) -> dict[str, Tensor]:
    if "train_mask" in graph:
        found = {part: graph[f"{part}_mask"] for part in PARTS}
        several = found["train"].dim() > 1
        if several and data.split >= found["train"].shape[1]:
            raise GraphError(f"split = {data.split}: there are 0 to {found['train'].shape[1] - 1}")
        if several:
            found = {part: mask[:, data.split] for part, mask in found.items()}
        return {part: mask & known for part, mask in found.items()}
    order = np.random.default_rng(data.split_seed).permutation(int(known.sum()))
    nodes = torch.from_numpy(known.nonzero()[:, 0].numpy()[order])
    val, test = round(len(nodes) * data.val_share), round(len(nodes) * data.test_share)
    cut = torch.split(nodes, [len(nodes) - val - test, val, test])
    return {
        part: torch.zeros_like(known).index_fill(0, chosen, True)
        for part, chosen in zip(PARTS, cut, strict=True)
    }
