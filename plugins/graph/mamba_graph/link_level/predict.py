"""A trained ``graph-link`` model: which edges a graph lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mamba_graph.data.files import GraphFilePredictor
from mamba_graph.data.given import given_graphs, read_pair
from mamba_graph.data.samples import EVAL_SEED, packed, prepared, shuffled
from mamba_graph.link_level.config import LinksPredict

_ROWS = 256
"""Nodes whose partners are scored at once."""


class LinkPredictor(GraphFilePredictor):
    """Graphs with :meth:`table`, files with :meth:`run`."""

    suffix = "links"
    config: LinksPredict

    @staticmethod
    def default_config() -> LinksPredict:
        """See :meth:`GraphFilePredictor.default_config`."""
        return LinksPredict()

    def table(self, graphs: Any) -> pd.DataFrame:
        """Return the likeliest partners of every node: ``graph``, ``source``, ``target``, ``p``.

        Every pair is scored: for graphs of up to some ten thousand nodes.

        :param graphs: a PyG ``Data``, a NetworkX graph, or a list of these.
        :raises GraphError: for a graph that cannot be used or does not fit the model.
        """
        tables = [self._links(number, graph) for number, graph in enumerate(given_graphs(graphs))]
        return pd.concat(tables, ignore_index=True)

    def _links(self, number: int, graph: Any) -> pd.DataFrame:
        config: Any = self.model.config
        sample = prepared(graph, config, f"graph {number}")
        nodes = len(sample["x"])
        moved = packed([shuffled({**sample, "node_id": torch.arange(nodes)}, EVAL_SEED)])
        ids = moved["node_id"]
        joined = torch.eye(nodes, dtype=torch.bool)
        joined[moved["edge_index"][0], moved["edge_index"][1]] = True
        found: dict[str, list[Any]] = {"source": [], "target": [], "p": []}
        for start in range(0, nodes, _ROWS):
            rows = torch.arange(start, min(start + _ROWS, nodes))
            pairs = torch.cartesian_prod(rows, torch.arange(nodes)).T
            scores = self.outputs({**moved, "pairs": pairs}, "pairs").reshape(len(rows), nodes)
            scores = scores.float().masked_fill(joined[rows], -torch.inf)
            best = scores.topk(min(self.config.top, nodes), dim=1)
            real = best.values.isfinite()
            found["source"] += ids[rows][:, None].expand_as(real)[real].tolist()
            found["target"] += ids[best.indices[real]].tolist()
            found["p"] += best.values[real].sigmoid().tolist()
        table = pd.DataFrame(found).sort_values(["source", "p"], ascending=[True, False])
        names = getattr(graph, "names", None)
        if names is not None:
            named = table[["source", "target"]].map(names.__getitem__)
            table = table.assign(**named)
        table.insert(0, "graph", number)
        return table

    def file_table(self, path: Path) -> pd.DataFrame:
        """See :meth:`GraphFilePredictor.file_table`; nodes have the ids of the table."""
        _, graphs = read_pair(path, None, self.config.directed)
        return self.table(graphs)
