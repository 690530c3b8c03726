"""What a forecast is made from: series that go on, with rows, forecasts or known columns."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from mamba_timeseries.forecast.protocol import Array
from mamba_timeseries.frame import Collection, FrameError, Series, following, listed

SEASONS = {"min": 60, "h": 24, "D": 7, "B": 5, "W": 52, "M": 12, "MS": 12, "ME": 12, "Q": 4}
"""Usual season per step of time; 1 where there is none."""


def season_of(freq: Any) -> int:
    """Return the usual steps per season of a step of time; 1 where there is none."""
    name = str(getattr(freq, "rule_code", freq)).split("-")[0]
    return SEASONS.get(name, 1)


def spelt(freq: Any) -> str:
    """Return a step of time as text, such as ``h``."""
    return str(getattr(freq, "freqstr", freq))


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
