"""Pictures of what the programs wrote down (needs matplotlib)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mamba_graph.benchmarks.record import BASE_ORDER, Row, order_differences, rows_in

Curves = dict[str, list[tuple[float, float]]]
"""Name of a line -> its points."""


def draw(records: Path, out: Path) -> list[Path]:
    """Draw a picture per record that is there.

    :returns: the files, PNG.
    """
    made = []
    for name, picture in PICTURES.items():
        path = records / f"{name}.jsonl"
        figure = picture(rows_in(path)) if path.is_file() else None
        if figure is not None:
            out.mkdir(parents=True, exist_ok=True)
            made.append(out / f"{name}.png")
            figure.savefig(made[-1], dpi=120)
    return made


def curves(rows: Sequence[Row], line: str, x: str, y: str) -> Curves:
    """Collect the points of each line, ascending; rows without ``y`` are left out."""
    found: Curves = {}
    for row in sorted(rows, key=lambda row: row[x]):
        if y in row:
            found.setdefault(row[line], []).append((row[x], row[y]))
    return found


def scaling(rows: Sequence[Row]) -> Any:
    """Seconds and memory against nodes; both axes by factors."""
    figure, axes = _axes(2)
    for axis, y, label in (
        (axes[0], "cpu_seconds", "processor seconds of a step"),
        (axes[1], "peak_mib", "MiB above the start"),
    ):
        _lines(axis, curves(rows, "layer", "nodes", y), "nodes", label)
        axis.set_yscale("log")
    axes[0].legend()
    return figure


def distance(rows: Sequence[Row]) -> Any:
    """Accuracy and memory against distance, a row of pictures per task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure, axes = _axes(2, len(tasks))
    for k, task in enumerate(tasks):
        mine = [row for row in rows if row["task"] == task]
        for axis, y, label in (
            (axes[2 * k], "test", "accuracy, %"),
            (axes[2 * k + 1], "kept_mib", "MiB kept for backward"),
        ):
            _lines(axis, curves(mine, "preset", "distance", y), "distance", label)
            axis.set_title(task)
        axes[2 * k + 1].set_yscale("log")
        axes[2 * k].legend()
    return figure


def orders(rows: Sequence[Row]) -> Any:
    """Paired differences of each order from a drawn one, every pair a dot."""
    differences = order_differences(rows)
    if not differences:
        return None
    sets = list(dict.fromkeys(run for run, _ in differences))
    figure, axes = _axes(len(sets))
    for axis, run in zip(axes, sets, strict=True):
        found = {order: pairs for (name, order), pairs in differences.items() if name == run}
        for place, pairs in enumerate(found.values()):
            axis.plot(pairs, np.full(len(pairs), place), "C0o", alpha=0.4)
            axis.plot(np.mean(pairs), place, "k|", markersize=18)
        axis.axvline(0, color="0.7")
        axis.set_yticks(range(len(found)), list(found))
        axis.set(title=run, xlabel=f"points above {BASE_ORDER}")
    return figure


def _axes(columns: int, rows: int = 1) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        rows, columns, figsize=(5 * columns, 3.6 * rows), squeeze=False, layout="constrained"
    )
    return figure, list(axes.flat)


def _lines(axis: Any, found: Curves, x: str, y: str) -> None:
    for name, points in found.items():
        axis.plot(*zip(*points, strict=True), "o-", label=name)
    axis.set(xlabel=x, ylabel=y, xscale="log")


PICTURES: dict[str, Callable[[Sequence[Row]], Any]] = {
    "scaling": scaling,
    "distance": distance,
    "folds": orders,
}
"""By the name of the record."""
