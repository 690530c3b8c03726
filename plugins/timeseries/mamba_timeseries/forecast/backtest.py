"""Rolling evaluation in original units, with the baselines beside every model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamba_timeseries.errors import FrameError
from mamba_timeseries.forecast.forecaster import Forecaster
from mamba_timeseries.forecast.progress import Progress, shown, silent
from mamba_timeseries.forecast.protocol import Array
from mamba_timeseries.frame import Collection, collect


@dataclass(frozen=True)
class BacktestResult:
    """What rolling forecasts came to."""

    table: pd.DataFrame
    """A row per model: ``mse``, ``mae``, ``mase``, ``pinball``, ``coverage`` of the outer
    quantiles and their nominal ``coverage_wanted``; best ``mae`` first."""
    forecasts: pd.DataFrame
    """Every forecast beside what came: ``model, cutoff, unique_id, ds, y, yhat, q...``."""

    def plot(self, model: str | None = None, *, series: int = 4) -> Any:
        """Draw a model's forecasts over what came; None draws the best one's.

        See :func:`mamba_timeseries.forecast.plot.plot_backtest`.
        """
        from mamba_timeseries.forecast.plot import plot_backtest

        return plot_backtest(self.forecasts, model or self.table["model"][0], series=series)


def backtest(
    forecaster: Forecaster,
    df: Any,
    *,
    n_windows: int = 3,
    step: int | None = None,
    refit: bool = False,
    progress: Progress | None = None,
) -> BacktestResult:
    """Forecast the last windows of a table as if they were not known yet.

    Everything is fitted on rows before the first forecast; ``refit`` fits again before each.

    :param forecaster: its settings; itself stays as it is.
    :param df: as for :meth:`Forecaster.fit`.
    :param n_windows: forecasts of ``h`` steps, from ``n_windows`` places.
    :param step: steps from place to place; None is ``h``.
    :param progress: called with ``(model, windows done, in all)``; None draws a bar on a terminal.
    :raises FrameError: for a table too short, naming the series.
    :raises ValueError: for fewer than one window or step.
    """
    h, step = forecaster.h, forecaster.h if step is None else step
    for name, value in (("n_windows", n_windows), ("step", step)):
        if value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")
    collection = collect(df, forecaster.columns, freq=forecaster.freq, fill=forecaster.fill)
    first = h + (n_windows - 1) * step
    for series in collection.series:
        if len(series) - first < h + 2:
            raise FrameError(
                f"series {series.name!r} has {len(series)} rows; n_windows = {n_windows} of h = "
                f"{h} every {step} steps leave {len(series) - first} to fit on, {h + 2} are needed"
            )
    settled = copy.copy(forecaster)
    settled.settle(_before(collection, first))
    possible = settled.baselines(_before(collection, first))
    rows = []
    with shown(progress, "backtest") as tell:
        for name in dict.fromkeys((forecaster.name, *possible)):
            one = copy.copy(forecaster)
            one.name = name
            rows += _roll(one, collection, n_windows, step, refit, tell)
    forecasts = pd.concat(rows, ignore_index=True)
    scale = _naive_errors(collection, first, settled.season or 1)
    table = pd.DataFrame(
        [
            {"model": name, **measure(part, forecaster.levels, scale)}
            for name, part in forecasts.groupby("model", sort=False)
        ]
    )
    return BacktestResult(table.sort_values("mae", ignore_index=True), forecasts)


def _roll(
    one: Forecaster,
    collection: Collection,
    n_windows: int,
    step: int,
    refit: bool,
    progress: Progress,
) -> list[pd.DataFrame]:
    """The forecasts of one model from every place."""
    parts = []
    for k in range(n_windows):
        back = one.h + (n_windows - 1 - k) * step
        past = _before(collection, back)
        if k == 0 or refit:
            one.fit_collection(past, progress=silent)
        future = {s.name: s.known[len(s) - back : len(s) - back + one.h] for s in collection.series}
        forecast = one.forecast_collection(past, future)
        truth = np.concatenate([_truth(s.y, s.observed, back, one.h) for s in collection.series])
        cutoff = np.concatenate([np.repeat(s.times[-1:], one.h) for s in past.series])
        forecast.insert(0, "model", one.name)
        forecast.insert(1, "cutoff", cutoff)
        forecast.insert(4, collection.columns.target, truth)
        parts.append(forecast)
        progress(one.name, k + 1, n_windows)
    return parts


def _before(collection: Collection, back: int) -> Collection:
    """All but the last ``back`` steps of every series, a pandas table's worth."""
    return Collection(
        tuple(s.cut(len(s) - back) for s in collection.series),
        collection.freq,
        collection.columns,
    )


def _truth(y: Array, observed: NDArray[np.bool_], back: int, h: int) -> Array:
    part = slice(len(y) - back, len(y) - back + h)
    return np.where(observed[part], y[part], np.nan)


def _naive_errors(collection: Collection, held: int, season: int) -> dict[str, float]:
    """Mean absolute step of the seasonal naive forecast before the first window, by series."""
    errors = {}
    for s in collection.series:
        y = np.where(s.observed, s.y, np.nan)[: len(s) - held]
        lag = season if len(y) > season else 1
        value = _mean(np.abs(y[lag:] - y[:-lag]))
        errors[s.name] = value if value > 0 else float("nan")
    return errors


def _mean(values: Array) -> float:
    """The mean of what is no NaN; NaN where nothing is."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def measure(
    forecasts: pd.DataFrame, levels: tuple[float, ...], scale: dict[str, float]
) -> dict[str, float]:
    """Return errors of some forecasts, in original units; steps that were not observed left out.

    :param forecasts: rows of :attr:`BacktestResult.forecasts`.
    :param scale: series name -> what its absolute errors are divided by for MASE
        (Hyndman and Koehler, 2006); NaN leaves the series out.
    """
    id_column, y_column = forecasts.columns[2], forecasts.columns[4]
    kept = forecasts[np.isfinite(forecasts[y_column])]
    y = kept[y_column].to_numpy()
    error = np.abs(y - kept["yhat"].to_numpy())
    found = {"mse": float(np.square(error).mean()), "mae": float(error.mean())}
    found["mase"] = _mean(error / kept[id_column].map(scale).to_numpy())
    q = kept[[f"q{level:g}" for level in levels]].to_numpy()
    each = np.maximum(
        np.array(levels) * (y[:, None] - q), (np.array(levels) - 1) * (y[:, None] - q)
    )
    found["pinball"] = float(each.mean())
    found["coverage"] = float(((y >= q[:, 0]) & (y <= q[:, -1])).mean())
    found["coverage_wanted"] = levels[-1] - levels[0]
    return found
