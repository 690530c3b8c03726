"""Tables and pictures of what the other programs wrote down.

    python -m mamba_graph.benchmarks.report RECORDS --plots PICTURES

``RECORDS`` is the folder of their ``--record`` files: ``folds.jsonl``, ``nodes.jsonl``,
``links.jsonl``, ``esol.jsonl``, ``distance.jsonl``, ``scaling.jsonl``; those that are missing are
left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from mamba_graph.benchmarks.record import BASE_ORDER, Row, order_differences, rows_in

Grid = dict[tuple[str, str], str]
"""``(row, column)`` -> cell."""


def markdown(corner: str, grid: Grid) -> str:
    """Return a table, rows and columns in the order of their first cells."""
    rows, columns = (list(dict.fromkeys(key[k] for key in grid)) for k in (0, 1))
    lines = [f"| {corner} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [grid.get((row, column), "") for column in columns]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return mean, deviation where there are several, and how many values these are."""
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        mean += f" ± {np.std(values):.{digits}f}"
    return f"{mean} ({len(values)})"


def folds_grid(rows: Iterable[Row]) -> Grid:
    """Accuracy in per cent by set and network, over the folds that all of its networks ran."""
    groups: dict[str, dict[str, dict[tuple[int, int], float]]] = {}
    for row in rows:
        if row["order"] is None:
            run = f"{row['set']}, {row['epochs']} epochs of {row['batch']}"
            found = groups.setdefault(run, {}).setdefault(row["preset"], {})
            found[row["fold"], row["seed"]] = 100 * row["accuracy"]
    grid: Grid = {}
    for run, networks in groups.items():
        common = sorted(set.intersection(*(set(found) for found in networks.values())))
        for network, found in networks.items():
            grid[run, network] = spread([found[k] for k in common])
    return grid


def orders_grid(rows: Iterable[Row]) -> Grid:
    """Accuracy by order, and its paired difference from a drawn order with standard error."""
    rows = [row for row in rows if row["order"] is not None]
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        run = f"{row['set']}, {row['epochs']} epochs of {row['batch']}"
        values.setdefault((f"{run}: {row['order']}", "accuracy"), []).append(100 * row["accuracy"])
    grid = {key: spread(found) for key, found in values.items()}
    for (run, order), pairs in order_differences(rows).items():
        error = np.std(pairs, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else float("nan")
        grid[f"{run}: {order}", f"above {BASE_ORDER}"] = f"{np.mean(pairs):+.1f} ± {error:.1f}"
    return grid


def scores_grid(rows: Iterable[Row]) -> Grid:
    """Score in per cent by set and model, with what was changed in it; a row per epochs."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        run = f"{row['set']}, {row['epochs']} epochs"
        changed = [row[name] for name in ("conv", "order") if row.get(name)]
        model = ", ".join([row["model"], *changed])
        found.setdefault((run, model), []).append(100 * row["score"])
    return {key: spread(values) for key, values in found.items()}


def molecules_grid(rows: Iterable[Row]) -> Grid:
    """RMSE by model."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["model"], []).append(row["rmse"])
    return {(model, "RMSE"): spread(values, 3) for model, values in found.items()}


def distance_grid(rows: Iterable[Row]) -> Grid:
    """Accuracy on new graphs in per cent, and MiB kept for the backward pass."""
    return {
        (f"{row['task']}, {row['distance']}", row["preset"]): (
            f"{row['test']:.0f}, {row['kept_mib']:.0f} MiB"
        )
        for row in rows
    }


def scaling_grid(rows: Iterable[Row]) -> Grid:
    """Processor seconds of a training step and peak MiB, or why there are none."""
    return {
        (f"{row['nodes']:,}", row["layer"]): row.get("failed")
        or f"{row['cpu_seconds']:.3f} s, {row['peak_mib']:,} MiB"
        for row in sorted(rows, key=lambda row: row["nodes"])
    }


TABLES: tuple[tuple[str, str, str, Callable[[Iterable[Row]], Grid]], ...] = (
    ("folds", "Ten folds, accuracy", "set", folds_grid),
    ("folds", "Orders of nodes, accuracy", "order", orders_grid),
    ("nodes", "Node sets, accuracy or ROC-AUC", "set", scores_grid),
    ("links", "Links, ROC-AUC", "set", scores_grid),
    ("esol", "ESOL, RMSE in log mol/l", "model", molecules_grid),
    ("distance", "Distance, accuracy and memory", "task, distance", distance_grid),
    ("scaling", "Scaling, one training step", "nodes", scaling_grid),
)
"""File, title, corner, and what makes the cells."""


def tables(folder: Path) -> str:
    """Return all tables of a folder of records; in brackets the number of runs."""
    parts = []
    for name, title, corner, make in TABLES:
        path = folder / f"{name}.jsonl"
        grid = make(rows_in(path)) if path.is_file() else {}
        if grid:
            parts.append(f"## {title}\n\n{markdown(corner, grid)}")
    return "\n\n".join(parts)


def main() -> None:
    """Print the tables and draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, help="folder of --record files")
    parser.add_argument("--plots", type=Path, help="folder for pictures; needs matplotlib")
    given = parser.parse_args()
    print(tables(given.records))
    if given.plots is not None:
        from mamba_graph.benchmarks.plots import draw

        for path in draw(given.records, given.plots):
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
