"""Trained models on graphs: ``Data``, lists, NetworkX graphs, pairs of csv files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from mamba_core.atomic import new_file, refuse_taken
from mamba_graph.data.given import edges_file, given_graphs, read_pair
from mamba_graph.data.samples import INPUTS, packed, prepared, shuffled
from mamba_graph.graph_level.config import GraphsPredict
from mamba_graph.graph_level.data import EVAL_SEED
from mamba_registry import TaskSpec

Progress = Callable[[str, int, int], None]
"""``(file name, files done, in all)``."""


class _GraphPredictor:
    """What both predictors do: graphs with :meth:`table`, files with :meth:`run`.

    :param model: in eval mode.
    :param config: see :class:`~mamba_graph.graph_level.config.GraphsPredict`.
    :param spec: the task's record.
    :param device: where the model runs.
    """

    suffix: str
    """Outputs are called ``<file name>_<suffix>.csv``."""

    def __init__(
        self,
        model: nn.Module,
        config: GraphsPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or GraphsPredict()
        self.model, self.device = model.to(device), torch.device(device)

    def table(self, graphs: Any) -> pd.DataFrame:
        """Return a row per graph, the first column its number.

        :param graphs: a PyG ``Data``, a NetworkX graph, or a list of these.
        :raises GraphError: for a graph that cannot be used or does not fit the model.
        """
        outputs = self.outputs(given_graphs(graphs))
        columns = self._columns(outputs)
        return pd.DataFrame({"graph": range(len(outputs)), **columns})

    @torch.inference_mode()
    def outputs(self, graphs: Sequence[Any]) -> Tensor:
        """Return the model's outputs, ``(graphs, ...)``, on the CPU."""
        size = self.config.batch_size
        found = []
        config: Any = self.model.config
        for start in range(0, len(graphs), size):
            part = [
                prepared(graph, config, f"graph {start + k}")
                for k, graph in enumerate(graphs[start : start + size])
            ]
            # one seed for all: a graph's answer does not depend on its place in the list
            batch = packed([shuffled(sample, EVAL_SEED) for sample in part])
            names = (*INPUTS, "batch", "cu_seqlens")
            (output,) = self.model(**{n: batch[n].to(self.device) for n in names}).values()
            found.append(output.cpu())
        return torch.cat(found)

    @abstractmethod
    def _columns(self, outputs: Tensor) -> dict[str, list[Any]]:
        """Columns of the table."""

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Answer for each table of nodes ``NAME.csv``, its edges in ``NAME_edges.csv``.

        :returns: per file ``file, output, graphs``.
        :raises FileNotFoundError: when there is no such file.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises GraphError: for a table that cannot be used.
        """
        paths = [Path(path) for path in inputs]
        targets = [Path(out) / f"{path.stem}_{self.suffix}.csv" for path in paths]
        refuse_taken(targets, overwrite=overwrite)
        rows = []
        for k, (path, target) in enumerate(zip(paths, targets, strict=True)):
            names, graphs = read_pair(
                path, edges_file(path), self.config.graph, self.config.directed
            )
            table = self.table(graphs).assign(graph=names)
            with new_file(target) as temporary:
                table.to_csv(temporary, index=False)
            rows.append({"file": str(path), "output": str(target), "graphs": len(table)})
            if progress is not None:
                progress(path.name, k + 1, len(paths))
        return rows


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
