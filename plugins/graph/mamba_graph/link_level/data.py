"""Edges to be found: hidden ones, and as many pairs without an edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from mamba_graph.data.check import GraphError
from mamba_graph.data.read import read
from mamba_graph.data.samples import EVAL_SEED, Sample, packed, prepared, shuffled
from mamba_graph.link_level.config import LinkConfig, LinksData

Ints = NDArray[np.int64]


class LinksDataset:
    """Training, validation and test edges of each graph.

    :param data: where the graphs come from.
    :param model: says what is read of them; edges have no features here.
    """

    def __init__(self, data: LinksData, model: LinkConfig) -> None:
        if model.edge_features:
            raise GraphError("graph-link hides edges: build its model with edge_features = 0")
        self.data, self.model = data, model
        self.graphs: list[Data] = []
        self.parts: list[tuple[Ints, Ints, Ints, Ints]] = []
        for number, graph in enumerate(read(data.source)):
            sample = prepared(graph, model, f"graph {number}")
            edges = single(sample["edge_index"])
            order = np.random.default_rng(data.split_seed).permutation(edges.shape[1])
            val, test = (round(len(order) * s) for s in (data.val_share, data.test_share))
            if not (val and test):
                raise GraphError(f"graph {number} has {len(order)} edges: too few to hide some")
            first, second = len(order) - val - test, len(order) - test
            train, held, tested = np.split(edges[:, order], [first, second], axis=1)
            self.graphs.append(graph)
            self.parts.append((edges, train, held, tested))

    def train(self, *, seed: int) -> LinkSplit:
        """Return the edges to learn from, part of them hidden at every visit."""
        return LinkSplit(self, "train", seed)

    def val(self, *, seed: int) -> LinkSplit:
        """Return the edges to choose a model by, hidden among the training edges."""
        return LinkSplit(self, "val", None)

    def test(self, *, seed: int) -> LinkSplit:
        """Return the edges to report, hidden among the training and validation edges."""
        return LinkSplit(self, "test", None)


class LinkSplit:
    """Each graph with its edges of one part to be found."""

    def __init__(self, dataset: LinksDataset, part: str, seed: int | None) -> None:
        self.dataset, self.part, self.seed = dataset, part, seed

    def __len__(self) -> int:
        return len(self.dataset.graphs)

    def sample(self, epoch: int, index: int) -> Sample:
        """Return a graph without the edges in question, ``pairs`` and ``pair_y``."""
        seeds = [EVAL_SEED, 0, index] if self.seed is None else [self.seed, epoch, index]
        drawn = np.random.default_rng(seeds)
        edges, train, val, test = self.dataset.parts[index]
        if self.part == "train":
            order = drawn.permutation(train.shape[1])
            hidden = max(round(len(order) * self.dataset.data.train_share), 1)
            asked, seen = train[:, order[:hidden]], train[:, order[hidden:]]
        elif self.part == "val":
            asked, seen = val, train
        else:
            asked, seen = test, np.concatenate([train, val], axis=1)
        graph = self.dataset.graphs[index]
        nodes = int(graph.num_nodes or 0)
        pairs = np.concatenate([asked, unjoined(edges, nodes, asked.shape[1], drawn)], axis=1)
        kept = to_undirected(torch.from_numpy(seen), num_nodes=nodes)
        y = torch.zeros(pairs.shape[1])
        y[: asked.shape[1]] = 1
        # degrees and encodings of the edges that are seen: those of the whole graph would tell
        seen_graph = Data(x=graph.x, edge_index=kept, num_nodes=nodes)
        sample = prepared(seen_graph, self.dataset.model, f"graph {index}")
        sample |= {"pairs": torch.from_numpy(pairs), "pair_y": y}
        if self.seed is None:
            return shuffled(sample, EVAL_SEED)
        return shuffled(sample, self.seed, epoch * len(self) + index)

    def collate(self, graphs: Sequence[Sample]) -> Sample:
        """Pack graphs into a batch."""
        return packed(graphs)


def single(edge_index: Tensor) -> Ints:
    """Return each undirected edge once, without loops and duplicates, ``(2, edges)``."""
    ends = edge_index.sort(dim=0).values
    ends = ends[:, ends[0] != ends[1]]
    return ends.unique(dim=1).numpy()


def unjoined(edges: Ints, nodes: int, count: int, drawn: np.random.Generator) -> Ints:
    """Draw pairs of different nodes without an edge, ``(2, count)``; fewer where there are few.

    :param edges: every edge once, the smaller number first.
    """
    taken = np.sort(edges[0] * nodes + edges[1])
    ends = np.sort(drawn.integers(nodes, size=(2, 3 * count + 16)), axis=0)
    code = np.unique(ends[0] * nodes + ends[1])
    code = code[(code // nodes != code % nodes) & ~np.isin(code, taken, kind="sort")]
    code = drawn.permutation(code)[:count]
    return np.stack([code // nodes, code % nodes])
