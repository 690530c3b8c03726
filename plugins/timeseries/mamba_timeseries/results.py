"""What the programs behind the cards' tables share: results in files, figures in cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mamba_core.atomic import new_file


def read(path: Path) -> dict[str, Any]:
    """Return a result; empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write(path: Path, found: Any) -> None:
    """Write a result whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as unfinished:
        unfinished.write_text(json.dumps(found, indent=1), encoding="utf-8")


def cell(values: Sequence[float], digits: int) -> str:
    """Return the mean, and the deviation where there are several."""
    if not values:
        return "not run"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def row(cells: Sequence[str]) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> str:
    """Return the first two lines of a table."""
    return f"{row(cells)}\n{row(['---'] * len(cells))}"
