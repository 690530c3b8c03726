"""What was measured, a line of JSON per run: a program that is started again goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
BASE_ORDER = "node-shuffle"
"""The order that others are compared with."""


class Record:
    """Rows in a file, each found by what was run.

    :param path: a file of JSON lines, made when the first row is written; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[Row] = rows_in(path) if path is not None and path.is_file() else []

    def once(self, run: Row, measure: Callable[[], Row]) -> Row:
        """Return the row of a run: the one of the file, or a new one, which is written down.

        :param run: all that says which run it is; values that JSON keeps as they are.
        :param measure: does it, and returns what came out.
        """
        for row in self.rows:
            if all(name in row and row[name] == value for name, value in run.items()):
                return row
        row = {**run, **measure()}
        self.rows.append(row)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row


def rows_in(path: Path) -> list[Row]:
    """Read the rows of a file; a last line that was cut off in writing is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def order_differences(rows: Iterable[Row]) -> dict[tuple[str, str], list[float]]:
    """Return points above :data:`BASE_ORDER` by (set, order), one per fold and seed of both."""
    found: dict[tuple[str, str], dict[tuple[int, int], float]] = {}
    for row in rows:
        if row["order"] is not None:
            run = f"{row['set']}, {row['epochs']} epochs of {row['batch']}"
            found.setdefault((run, row["order"]), {})[row["fold"], row["seed"]] = (
                100 * row["accuracy"]
            )
    differences: dict[tuple[str, str], list[float]] = {}
    for (run, order), values in found.items():
        base = found.get((run, BASE_ORDER), {})
        pairs = [values[k] - base[k] for k in sorted(values.keys() & base.keys())]
        if order != BASE_ORDER and pairs:
            differences[run, order] = pairs
    return differences
