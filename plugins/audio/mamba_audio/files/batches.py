"""Several files, of which some may be bad."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def take_each(paths: Sequence[Path], take: Callable[[Path], Row]) -> list[Row]:
    """Return a row per file; one bad file among several does not stop the others.

    Rows of bad files, ``file, error``, come after all others. The error of a single file is
    raised.
    """
    rows: list[Row] = []
    bad: list[Row] = []
    for path in paths:
        try:
            rows.append(take(path))
        except (OSError, ValueError) as error:
            if len(paths) == 1:
                raise
            bad.append({"file": str(path), "error": str(error)})
    return rows + bad
