"""Forecasts with their quantiles as pictures (needs matplotlib)."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v1 as nw
import numpy as np

from mamba_timeseries.frame import Collection


def plot(context: Collection, forecast: Any, *, series: int = 4, history: int = 200) -> Any:
    """Draw the end of some series and what was forecast.

    :param context: what was known.
    :param forecast: a table from ``predict``.
    :param series: at most so many, one picture each.
    :param history: steps shown before the forecast.
    :returns: a matplotlib figure.
    """
    import matplotlib.pyplot as plt

    columns = context.columns
    table = nw.from_native(forecast, eager_only=True)
    levels = sorted((c for c in table.columns if c.startswith("q")), key=lambda c: float(c[1:]))
    shown = context.series[:series]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(9, 2.6 * len(shown)), squeeze=False, layout="constrained"
    )
    for axis, one in zip(axes[:, 0], shown, strict=True):
        mine = table.filter(nw.col(columns.id) == one.name)
        times = mine[columns.time].to_list()
        axis.plot(one.times[-history:], np.where(one.observed, one.y, np.nan)[-history:], "k", lw=1)
        axis.plot(times, mine["yhat"].to_list(), "C0", lw=1.5, label="forecast")
        for low, high in zip(levels[: len(levels) // 2], levels[::-1], strict=False):
            axis.fill_between(
                times, mine[low].to_list(), mine[high].to_list(), color="C0", alpha=0.2,
                label=f"{low[1:]} to {high[1:]}",
            )  # fmt: skip
        axis.set_title(one.name)
        axis.legend(loc="upper left")
    return figure
