"""Trained models on graphs: ``Data``, lists, NetworkX graphs, pairs of csv files."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mamba_graph.data.files import GraphFilePredictor
from mamba_graph.data.given import given_graphs, read_pair
from mamba_graph.data.samples import EVAL_SEED, packed, prepared, shuffled
from mamba_graph.graph_level.config import GraphsPredict


class _GraphPredictor(GraphFilePredictor):
    """What both predictors do: graphs with :meth:`table`, files with :meth:`run`."""

    config: GraphsPredict

    @staticmethod
    def default_config() -> GraphsPredict:
        """See :meth:`GraphFilePredictor.default_config`."""
        return GraphsPredict()

    def table(self, graphs: Any) -> pd.DataFrame:
        """Return a row per graph, the first column its number.

        :param graphs: a PyG ``Data``, a NetworkX graph, or a list of these.
        :raises GraphError: for a graph that cannot be used or does not fit the model.
        """
        found = given_graphs(graphs)
        config: Any = self.model.config
        outputs = []
        for start in range(0, len(found), self.config.batch_size):
            part = found[start : start + self.config.batch_size]
            samples = [prepared(g, config, f"graph {start + k}") for k, g in enumerate(part)]
            # one seed for all: a graph's answer does not depend on its place in the list
            outputs.append(self.outputs(packed([shuffled(s, EVAL_SEED) for s in samples])))
        return pd.DataFrame({"graph": range(len(found)), **self._columns(torch.cat(outputs))})

    @abstractmethod
    def _columns(self, outputs: Tensor) -> dict[str, list[Any]]:
        """Columns of the table."""

    def file_table(self, path: Path) -> pd.DataFrame:
        """See :meth:`GraphFilePredictor.file_table`; graphs have the names of the column."""
        names, graphs = read_pair(path, self.config.graph, self.config.directed)
        return self.table(graphs).assign(graph=names)


class GraphClassPredictor(_GraphPredictor):
    """A trained ``graph-cls`` model: columns ``class`` and ``p_<class>``."""

    suffix = "classes"

    def _columns(self, outputs: Tensor) -> dict[str, list[Any]]:
        p = outputs.softmax(-1)
        chances = {f"p_{k}": p[:, k].tolist() for k in range(p.shape[1])}
        return {"class": p.argmax(-1).tolist(), **chances}


class GraphValuePredictor(_GraphPredictor):
    """A trained ``graph-reg`` model: columns ``value_0``, ``value_1``, ..."""

    suffix = "values"

    def _columns(self, outputs: Tensor) -> dict[str, list[Any]]:
        return {f"value_{k}": outputs[:, k].tolist() for k in range(outputs.shape[1])}
