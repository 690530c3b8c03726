"""Predictors on files: a table in, a .csv out, nothing half-written and nothing replaced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mamba_core.file_batches import Progress, file_by_file
from mamba_timeseries.frame import Columns, read_file


class FilePredictor(ABC):
    """What the predictors of all tasks do with files."""

    suffix: str
    """Outputs are called ``<file name>_<suffix>.csv``."""
    columns: Columns

    @abstractmethod
    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return what is written for one table."""

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Work on each file, into ``out/<file name>_<suffix>.csv``.

        One bad file among several does not stop the others.

        :param overwrite: replace outputs that are there.
        :param progress: called after every file.
        :returns: per file ``file, output, series, rows``; of bad ones, at the end, ``file, error``.
        :raises FileNotFoundError: when there is no such file, and no other.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises FrameError: for a table that cannot be used, and no other.
        """

        def write(path: Path, target: Path) -> dict[str, int]:
            table = self.table(read_file(path))
            table.to_csv(target, index=False)
            return {"series": int(table[self.columns.id].nunique()), "rows": len(table)}

        return file_by_file(
            inputs, out, f"_{self.suffix}.csv", write, overwrite=overwrite, progress=progress
        )
