"""Forecasts with their quantiles as pictures, beside what was known and what came (matplotlib)."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd

from mamba_timeseries.frame import Collection


def plot(
    context: Collection,
    forecast: Any,
    *,
    truth: Any = None,
    series: int = 4,
    history: int | None = None,
) -> Any:
    """Draw the end of some series and what was forecast.

    :param context: what was known.
    :param forecast: a table from ``predict``.
    :param truth: rows of ``unique_id, ds, y`` that came later; None draws none.
    :param series: at most so many, one picture each.
    :param history: steps shown before the forecast; None shows four times its length, at least 48.
    :returns: a matplotlib figure.
    """
    columns = context.columns
    table = nw.from_native(forecast, eager_only=True)
    later = None if truth is None else nw.from_native(truth, eager_only=True)
    shown = context.series[:series]
    if history is None:
        history = max(4 * len(_rows(table, columns.id, shown[0].name)), 48)
    figure, axes = _pictures([one.name for one in shown])
    for axis, one in zip(axes, shown, strict=True):
        axis.plot(one.times[-history:], np.where(one.observed, one.y, np.nan)[-history:], "k", lw=1)
        _draw(axis, _rows(table, columns.id, one.name), columns.time)
        if later is not None:
            rows = _rows(later, columns.id, one.name)
            times, y = rows[columns.time].to_list(), rows[columns.target].to_list()
            axis.plot(times, y, "k--", lw=1, label="what came")
        _finish(axis, columns.target)
    return figure


def plot_backtest(forecasts: pd.DataFrame, model: str, *, series: int = 4) -> Any:
    """Draw one model's rolling forecasts over what came.

    :param forecasts: ``model, cutoff, unique_id, ds, y, yhat, q...``, as a backtest gives them.
    :param model: one of those in the table.
    :param series: at most so many, one picture each.
    :returns: a matplotlib figure.
    :raises ValueError: for a model that is not there.
    """
    mine = forecasts[forecasts["model"] == model]
    if not len(mine):
        raise ValueError(f"no forecast of {model!r}: {', '.join(forecasts['model'].unique())}")
    id_column, time_column, y_column = forecasts.columns[2:5]
    names = list(mine[id_column].unique()[:series])
    figure, axes = _pictures([f"{name}, {model}" for name in names])
    for axis, name in zip(axes, names, strict=True):
        rows = mine[mine[id_column] == name]
        came = rows.drop_duplicates(time_column).sort_values(time_column)
        for k, (_, window) in enumerate(rows.groupby("cutoff")):
            _draw(axis, nw.from_native(window, eager_only=True), time_column, label=k == 0)
        axis.plot(came[time_column], came[y_column], "k", lw=1, label="what came")
        _finish(axis, y_column)
    return figure


def _pictures(titles: list[str]) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(titles), 1, figsize=(9, 3 * len(titles)), squeeze=False, layout="constrained"
    )
    for axis, title in zip(axes[:, 0], titles, strict=True):
        axis.set_title(title)
    return figure, axes[:, 0]


def _finish(axis: Any, target: str) -> None:
    axis.set_ylabel(target)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="upper left", frameon=False)


def _rows(table: Any, column: str, name: str) -> Any:
    return table.filter(nw.col(column).cast(nw.String) == name)


def _draw(axis: Any, rows: Any, time_column: str, *, label: bool = True) -> None:
    """A forecast and the bands between its quantiles, the outermost palest."""
    times = rows[time_column].to_list()
    levels = sorted((c for c in rows.columns if _is_level(c)), key=lambda c: float(c[1:]))
    axis.plot(times, rows["yhat"].to_list(), "C0", lw=1.5, label="forecast" if label else None)
    for low, high in zip(levels[: len(levels) // 2], levels[::-1], strict=False):
        axis.fill_between(
            times, rows[low].to_list(), rows[high].to_list(), color="C0", alpha=0.2, lw=0,
            label=f"{low[1:]} to {high[1:]} ({_share(low, high)} %)" if label else None,
        )  # fmt: skip


def _share(low: str, high: str) -> str:
    """What lies between two quantiles, in percent."""
    return f"{100 * (float(high[1:]) - float(low[1:])):.3g}"


def _is_level(column: str) -> bool:
    return column.startswith("q") and column[1:].replace(".", "", 1).isdigit()
