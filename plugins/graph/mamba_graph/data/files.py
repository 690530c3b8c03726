"""What the predictors of all tasks do with files: a table of nodes, one of edges, one out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from mamba_core.file_batches import Progress, file_by_file
from mamba_graph.data.samples import INPUTS, Sample
from mamba_registry import TaskSpec


class GraphFilePredictor(ABC):
    """A trained model on csv files.

    :param model: in eval mode.
    :param config: the task's predict config.
    :param spec: the task's record.
    :param device: where the model runs.
    """

    suffix: str
    """Outputs are called ``<file name>_<suffix>.csv``."""

    def __init__(
        self,
        model: nn.Module,
        config: Any = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or self.default_config()
        self.model, self.device = model.to(device), torch.device(device)

    @staticmethod
    @abstractmethod
    def default_config() -> Any:
        """Return the predict config that is used when none is given."""

    @abstractmethod
    def file_table(self, path: Path) -> pd.DataFrame:
        """Return what is written for one file of nodes."""

    @torch.inference_mode()
    def outputs(self, batch: Sample, *further: str) -> Tensor:
        """Return the model's output for a packed batch, on the CPU.

        :param further: inputs besides those that describe graphs.
        """
        names = (*INPUTS, "batch", "cu_seqlens", *further)
        (output,) = self.model(**{n: batch[n].to(self.device) for n in names}).values()
        return output.cpu()

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Answer for each table of nodes ``NAME.csv``, its edges in ``NAME_edges.csv``.

        One bad table among several does not stop the others.

        :param overwrite: replace outputs that are there.
        :param progress: called after every file.
        :returns: per file ``file, output, rows``; of bad ones, at the end, ``file, error``.
        :raises FileNotFoundError: when there is no such file, and no other.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises GraphError: for a table that cannot be used, and no other.
        """

        def write(path: Path, target: Path) -> dict[str, int]:
            table = self.file_table(path)
            table.to_csv(target, index=False)
            return {"rows": len(table)}

        return file_by_file(
            inputs, out, f"_{self.suffix}.csv", write, overwrite=overwrite, progress=progress
        )
