"""Predictors on files: a table in, a .csv out, nothing half-written and nothing replaced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mamba_core.atomic import new_file, refuse_taken
from mamba_timeseries.frame import Columns, read_file

Progress = Callable[[str, int, int], None]
"""``(file name, files done, in all)``."""


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

        :param overwrite: replace outputs that are there.
        :param progress: called after every file.
        :returns: per file ``file, output, series, rows``.
        :raises FileNotFoundError: when there is no such file.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises FrameError: for a table that cannot be used.
        """
        paths = [Path(path) for path in inputs]
        targets = [Path(out) / f"{path.stem}_{self.suffix}.csv" for path in paths]
        refuse_taken(targets, overwrite=overwrite)
        rows = []
        for k, (path, target) in enumerate(zip(paths, targets, strict=True)):
            table = self.table(read_file(path))
            with new_file(target) as temporary:
                table.to_csv(temporary, index=False)
            rows.append(
                {
                    "file": str(path),
                    "output": str(target),
                    "series": int(table[self.columns.id].nunique()),
                    "rows": len(table),
                }
            )
            if progress is not None:
                progress(path.name, k + 1, len(paths))
        return rows
