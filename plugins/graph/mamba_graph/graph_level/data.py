"""Graphs with an answer each, parted by folds, by official parts, or by draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from mamba_graph.data.check import GraphError
from mamba_graph.data.config import Collection
from mamba_graph.data.read import has_parts, read, read_part
from mamba_graph.data.samples import EVAL_SEED, Sample, packed, prepared, shuffled
from mamba_graph.graph_level.config import (
    GraphClassifierConfig,
    GraphRegressorConfig,
    GraphsData,
)

Ints = NDArray[np.int64]
ModelConfig = GraphClassifierConfig | GraphRegressorConfig


class GraphsDataset:
    """Training, validation and test graphs.

    :param data: where they come from.
    :param model: says what is read of them, and what an answer is.
    """

    def __init__(self, data: GraphsData, model: ModelConfig) -> None:
        self.data, self.model = data, model
        self._parts: dict[str, list[Sample]] = {}
        if has_parts(data.source):
            assert isinstance(data.source, Collection)
            for part in ("train", "val", "test"):
                self._parts[part] = samples(read_part(data.source, part), model)
            return
        found = samples(read(data.source), model)
        for part, chosen in zip(("train", "val", "test"), self._split(len(found)), strict=True):
            self._parts[part] = [found[k] for k in chosen]

    def _split(self, count: int) -> tuple[Ints, Ints, Ints]:
        data = self.data
        if data.folds is not None:
            return nested_fold(read_folds(data.folds, count), data.fold)
        return drawn_parts(count, data.val_share, data.test_share, data.split_seed)

    def train(self, *, seed: int) -> GraphSplit:
        """Return the graphs to learn from, their nodes renumbered at every visit."""
        return GraphSplit(self._parts["train"], seed)

    def val(self, *, seed: int) -> GraphSplit:
        """Return the graphs to choose a model by."""
        return GraphSplit(self._parts["val"], None)

    def test(self, *, seed: int) -> GraphSplit:
        """Return the graphs to report."""
        return GraphSplit(self._parts["test"], None)


class GraphSplit:
    """Some graphs.

    :param found: with their answers.
    :param seed: of the node numbers, drawn at every visit; None draws them once, for all runs.
    """

    def __init__(self, found: Sequence[Sample], seed: int | None) -> None:
        self.found, self.seed = found, seed

    def __len__(self) -> int:
        return len(self.found)

    def sample(self, epoch: int, index: int) -> Sample:
        """Return one graph's tensors and ``y``, its nodes renumbered."""
        if self.seed is None:
            return shuffled(self.found[index], EVAL_SEED)
        return shuffled(self.found[index], self.seed, epoch * len(self) + index)

    def collate(self, graphs: Sequence[Sample]) -> Sample:
        """Pack graphs into a batch."""
        return packed(graphs)


def samples(graphs: Sequence[Data], model: ModelConfig) -> list[Sample]:
    """Return what the model reads of graphs, and their answers as ``y``.

    :raises GraphError: for a graph that cannot be used, or an answer the model does not have.
    """
    found = []
    for number, graph in enumerate(graphs):
        sample = prepared(graph, model, f"graph {number}")
        # a table has a row per node: the first one's answer is the graph's
        y = graph.y[:1] if "names" in graph and graph.y is not None else graph.y
        found.append({**sample, "y": answer(y, model, number)})
    return found


def answer(y: Tensor | None, model: ModelConfig, number: int) -> Tensor:
    """Return a class as int64 ``()``, or numbers as float ``(targets,)``."""
    if y is None:
        raise GraphError(f"graph {number} has no answer y")
    if not y.isfinite().all():
        raise GraphError(f"graph {number}: y has values that are not finite: leave the graph out")
    if isinstance(model, GraphRegressorConfig):
        if y.numel() != model.targets:
            raise GraphError(
                f"graph {number} has {y.numel()} numbers, the model targets = {model.targets}"
            )
        return y.reshape(-1).float()
    value = float(y.reshape(-1)[0])
    if value != int(value) or not 0 <= value < model.classes:
        raise GraphError(
            f"graph {number} is of class {value:g}; the model knows 0 to {model.classes - 1}"
        )
    return torch.tensor(int(value))


def read_folds(path: Path, count: int) -> Ints:
    """Read which fold tests each graph.

    :raises GraphError: for another number of lines than graphs.
    """
    folds = np.loadtxt(path, dtype=np.int64, ndmin=1)
    if len(folds) != count:
        raise GraphError(f"{path} has {len(folds)} lines, the set {count} graphs")
    return folds


def nested_fold(folds: Ints, fold: int) -> tuple[Ints, Ints, Ints]:
    """Return the training, validation and test graphs of one fold.

    Of the graphs not tested, the first fifth of ``RandomState(0).permutation`` is held out:
    models are chosen by these, never by the tested ones.

    :raises GraphError: for a fold that tests nothing.
    """
    test, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
    if not len(test):
        raise GraphError(f"fold = {fold} tests no graph; there are 1 to {folds.max()}")
    drawn = np.random.RandomState(0).permutation(len(rest))
    held = len(rest) // 5
    return rest[np.sort(drawn[held:])], rest[np.sort(drawn[:held])], test


def drawn_parts(
    count: int, val_share: float, test_share: float, seed: int
) -> tuple[Ints, Ints, Ints]:
    """Return graphs drawn for training, validation and test."""
    drawn = np.random.default_rng(seed).permutation(count)
    val, test = round(count * val_share), round(count * test_share)
    train = count - val - test
    return drawn[:train], drawn[train : train + val], drawn[train + val :]
