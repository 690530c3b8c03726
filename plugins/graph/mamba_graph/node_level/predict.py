"""A trained ``graph-node`` model on graphs and pairs of csv files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mamba_graph.data.files import GraphFilePredictor
from mamba_graph.data.given import given_graphs, read_pair
from mamba_graph.data.samples import EVAL_SEED, packed, prepared, shuffled
from mamba_graph.node_level.config import NodesPredict


class NodePredictor(GraphFilePredictor):
    """Graphs with :meth:`table`, files with :meth:`run`."""

    suffix = "classes"
    config: NodesPredict

    @staticmethod
    def default_config() -> NodesPredict:
        """See :meth:`GraphFilePredictor.default_config`."""
        return NodesPredict()

    def table(self, graphs: Any) -> pd.DataFrame:
        """Return a row per node: ``graph``, ``node``, ``class`` and ``p_<class>``.

        :param graphs: a PyG ``Data``, a NetworkX graph, or a list of these; read one at a time.
        :raises GraphError: for a graph that cannot be used or does not fit the model.
        """
        config: Any = self.model.config
        tables = []
        for number, graph in enumerate(given_graphs(graphs)):
            sample = prepared(graph, config, f"graph {number}")
            ids = torch.arange(len(sample["x"]))
            moved = shuffled({**sample, "node_id": ids}, EVAL_SEED)
            p = torch.empty(len(ids), config.classes)
            p[moved["node_id"]] = self.outputs(packed([moved])).float().softmax(-1)
            table = {
                "graph": number,
                "node": getattr(graph, "names", ids.tolist()),
                "class": p.argmax(-1).tolist(),
            }
            chances = {f"p_{k}": p[:, k].tolist() for k in range(p.shape[1])}
            tables.append(pd.DataFrame({**table, **chances}))
        return pd.concat(tables, ignore_index=True)

    def file_table(self, path: Path) -> pd.DataFrame:
        """See :meth:`GraphFilePredictor.file_table`; nodes have the ids of the table."""
        _, graphs = read_pair(path, None, self.config.directed)
        return self.table(graphs)
