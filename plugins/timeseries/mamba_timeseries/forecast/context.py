"""What a forecast is made from, series that go on, and the table that it becomes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mamba_timeseries.errors import FrameError, listed
from mamba_timeseries.forecast.protocol import Array
from mamba_timeseries.frame import Collection, Series, collect, to_native
from mamba_timeseries.times import following

SEASONS = {"min": 60, "h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "MS": 12, "ME": 12, "Q": 4}
"""Usual season per step of time; 1 where there is none."""


def season_of(freq: Any) -> int:
    """Return the usual steps per season of a step of time; 1 where there is none."""
    name = str(getattr(freq, "rule_code", freq)).split("-")[0]
    return SEASONS.get(name, 1)


def block_rows(values: Array, start: int, count: int) -> Array:
    """Return ``count`` rows from ``start`` on; the last one is repeated where there are fewer."""
    part = values[start : start + count]
    return np.concatenate([part, np.repeat(part[-1:], count - len(part), axis=0)])


def with_future(context: Collection, known: dict[str, Array]) -> Collection:
    """Return the same series, their known columns continued."""
    longer = [
        dataclasses.replace(s, known=np.concatenate([s.known, known[s.name]]))
        for s in context.series
    ]
    return Collection(tuple(longer), context.freq, context.columns, context.backend)


def extended(
    context: Collection, block: dict[str, Array], known: dict[str, Array], freq: Any
) -> Collection:
    """Return the same series, continued by their forecasts."""
    longer = []
    for s in context.series:
        y = block[s.name][:, 0]
        longer.append(
            Series(
                s.name,
                s.times.append(following(s.times, len(y), freq)),
                np.concatenate([s.y, y]),
                np.concatenate([s.observed, np.ones(len(y), dtype=bool)]),
                np.concatenate([s.known, known[s.name]]),
            )
        )
    return Collection(tuple(longer), context.freq, context.columns, context.backend)


def future_known(
    context: Collection,
    futr_df: Any,
    *,
    static: tuple[str, ...],
    steps: int,
    allowed: tuple[str, ...] = (),
) -> dict[str, Array]:
    """Return the known columns of the steps to come, ``(steps, covariates)`` by series.

    :param futr_df: holds what is not static; None where everything is.
    :param static: columns that stay what they were.
    :param allowed: further columns that may be in ``futr_df``.
    :raises FrameError: for columns, series or steps that are missing, or not known.
    """
    columns, freq = context.columns, context.freq
    moving = tuple(name for name in columns.known if name not in static)
    if not columns.known and futr_df is not None:
        raise FrameError("futr_df was given, but the forecaster has no known columns")
    table = None
    if moving:
        if futr_df is None:
            raise FrameError(f"futr_df is needed: the next {steps} steps of {listed(moving)}")
        own = dataclasses.replace(columns, known=moving)
        table = collect(futr_df, own, freq=freq, target=False, fitted=True)
        check_columns(table, (*allowed, *static, columns.target), what="futr_df")
        check_zone(context, table)
    found = {}
    for series in context.series:
        known = np.repeat(series.known[-1:], steps, axis=0)  # what is static stays
        if table is not None:
            places = [columns.known.index(name) for name in moving]
            known[:, places] = _ahead(table, series, steps, freq)
        found[series.name] = known
    return found


def _ahead(table: Collection, series: Series, steps: int, freq: Any) -> Array:
    if series.name not in table.by_name:
        raise FrameError(f"futr_df has no row of series {series.name!r}")
    rows = table.by_name[series.name]
    wanted = following(series.times, steps, freq)
    places = rows.times.get_indexer(wanted)
    if (places < 0).any():
        late = wanted[places < 0][0]
        raise FrameError(f"futr_df: series {series.name!r}, {late} is missing")
    return rows.known[places]


def check_columns(table: Collection, allowed: tuple[str, ...], *, what: str = "the table") -> None:
    """Refuse columns that a forecaster has not met: it would silently not read them."""
    unknown = [name for name in table.ignored if name not in allowed]
    if unknown:
        raise FrameError(
            f"{what} has the column {listed(unknown)}, which was not there when fitted: leave it "
            "out, or fit on it as known"
        )


def check_zone(context: Collection, other: Collection) -> None:
    """Refuse times in another time zone than those that are there."""
    first, new = context.series[0].times, other.series[0].times
    zones = [str(getattr(times, "tz", None)) for times in (first, new)]
    if zones[0] != zones[1]:
        raise FrameError(
            f"series {other.names[0]!r}, {new[0]}: time zone {zones[1]}, fitted was {zones[0]}; "
            "give all times in one zone"
        )


def check_static(collection: Collection, static: tuple[str, ...]) -> None:
    """Refuse a column that is called static and changes within a series."""
    for name in static:
        place = collection.columns.known.index(name)
        for series in collection.series:
            values = series.known[:, place]
            other = np.flatnonzero(values != values[0])
            if len(other):
                raise FrameError(
                    f"series {series.name!r}, {series.times[other[0]]}: the static column {name!r} "
                    f"changes from {values[0]:g} to {values[other[0]]:g}; call it known instead"
                )


def on_one_grid(collection: Collection) -> bool:
    """Return whether the series can be read together: several, equal times, equal known columns."""
    first = collection.series[0]
    return len(collection.series) > 1 and all(
        s.times.equals(first.times) and np.array_equal(s.known, first.known)
        for s in collection.series
    )


def forecast_table(
    context: Collection, values: dict[str, Array], levels: tuple[float, ...], freq: Any
) -> Any:
    """Return forecasts as a table of the kind that the context came as.

    :param values: ``(steps, 1 + levels)`` by series.
    :returns: ``unique_id, ds, yhat, q0.1, ...``.
    """
    steps = len(next(iter(values.values())))
    times = [following(s.times, steps, freq) for s in context.series]
    every = np.concatenate([values[n] for n in context.names])
    joined = times[0]
    for more in times[1:]:
        joined = joined.append(more)
    data: dict[str, Any] = {
        context.columns.id: np.repeat(np.array(context.names, dtype=object), steps),
        context.columns.time: joined,
        "yhat": every[:, 0],
    }
    data |= {f"q{level:g}": every[:, 1 + k] for k, level in enumerate(levels)}
    return to_native(data, context.backend)


def followed(context: Collection, new: Collection, freq: Any) -> Collection:
    """Return the series of ``context`` with the rows of ``new`` behind them.

    :raises FrameError: for a series that is not there, or rows that do not follow.
    """
    unknown = [n for n in new.names if n not in context.by_name]
    if unknown:
        raise FrameError(f"series {listed(unknown)} was not fitted")
    longer = []
    for s in context.series:
        more = new.by_name.get(s.name)
        if more is None:
            longer.append(s)
            continue
        expected = following(s.times, 1, freq)[0]
        if more.times[0] != expected:
            raise FrameError(
                f"series {s.name!r}, {more.times[0]}: the next row must be of {expected}"
            )
        longer.append(
            Series(
                s.name,
                s.times.append(more.times),
                np.concatenate([s.y, more.y]),
                np.concatenate([s.observed, more.observed]),
                np.concatenate([s.known, more.known]),
            )
        )
    return Collection(tuple(longer), context.freq, context.columns, context.backend)
