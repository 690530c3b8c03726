"""Times of series: read, held against the rules, put on a grid of equal steps."""

from __future__ import annotations

import warnings
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamba_timeseries.errors import FrameError

Names = NDArray[np.str_]


def read_times(column: Any, names: Names) -> pd.Index:
    """Return a column of times, in one time zone or in none.

    :param column: whole numbers, timestamps, dates, periods (their first moment), or text that
        says them.
    :param names: of which series each row is.
    :raises FrameError: for what is no time, and for a second time zone.
    """
    if column.dtype.is_integer():
        return pd.Index(column.to_numpy())
    if column.dtype.is_float() or isinstance(column.dtype, nw.Boolean):
        raise FrameError(
            f"series {str(names[0])!r}: {column.to_list()[0]!r} is no timestamp; times are "
            "timestamps or whole numbers"
        )
    if isinstance(column.dtype, nw.Datetime) and column.dtype.time_zone:
        zone = column.dtype.time_zone
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        return pd.DatetimeIndex(utc, tz="UTC").tz_convert(zone)
    if isinstance(column.dtype, nw.Datetime | nw.Date):
        return pd.DatetimeIndex(column.cast(nw.Datetime("us")).to_numpy())
    values = column.to_list()
    if all(isinstance(value, pd.Period) for value in values):
        return pd.PeriodIndex(values).to_timestamp()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is not alike is looked at one by one
        try:
            found = pd.DatetimeIndex(pd.to_datetime(values))
        except (ValueError, TypeError):
            found = pd.DatetimeIndex([pd.NaT])
    return _one_by_one(values, names) if found.hasnans else found


def _one_by_one(values: list[Any], names: Names) -> pd.Index:
    stamps: list[pd.Timestamp] = []
    for value, name in zip(values, names, strict=True):
        stamp = pd.NaT if value is None else pd.to_datetime(value, errors="coerce")
        if stamp is pd.NaT:
            raise FrameError(f"series {str(name)!r}: {value!r} is no timestamp")
        if stamps and str(stamp.tz) != str(stamps[0].tz):
            raise FrameError(
                f"series {str(name)!r}, {value}: time zone {stamp.tz}, before it {stamps[0].tz}; "
                "give all times in one zone, such as UTC"
            )
        stamps.append(stamp)
    return pd.DatetimeIndex(stamps)


def check_rising(name: str, times: pd.Index) -> None:
    """Refuse times of a series that are missing, occur twice, or fall."""
    if times.hasnans:
        row = int(np.flatnonzero(times.isna())[0])
        place = f"after {times[row - 1]}" if row else "of its first row"
        raise FrameError(f"series {name!r}: the timestamp {place} is missing")
    again = times.duplicated()
    if again.any():
        raise FrameError(
            f"series {name!r}, {times[again][0]}: this timestamp occurs twice; keep one row of it"
        )
    if not times.is_monotonic_increasing:
        late = int(np.flatnonzero(times[1:] < times[:-1])[0]) + 1
        raise FrameError(
            f"series {name!r}, {times[late]}: comes after {times[late - 1]}; sort the table by "
            "series and time"
        )


def spelt(freq: Any) -> str:
    """Return a step of time as text, such as ``h``."""
    return str(getattr(freq, "freqstr", freq))


def step_of(freq: Any, times: dict[str, pd.Index]) -> Any:
    """Return the step that is given, or that of the longest series: all have one.

    :param freq: a pandas frequency or a whole number; None finds it out.
    :returns: an offset, or an int for whole-number times.
    :raises FrameError: for a step that is none, or of the other kind.
    """
    name = max(times, key=lambda series: len(times[series]))
    longest = times[name]
    if freq is None:
        return _found(name, longest)
    try:
        if not isinstance(longest, pd.DatetimeIndex):
            return int(freq)
        return pd.tseries.frequencies.to_offset(freq)
    except (ValueError, TypeError) as error:
        raise FrameError(
            f"freq = {spelt(freq)!r} is no step of times such as {longest[0]}: timestamps take "
            "one such as 'h', 'D', 'MS', whole numbers a whole one"
        ) from error


def _found(name: str, times: pd.Index) -> Any:
    if not isinstance(times, pd.DatetimeIndex):
        return int(np.diff(times.to_numpy()).min()) if len(times) > 1 else 1
    if len(times) < 2:
        raise FrameError(
            f"series {name!r}, {times[0]}: its only row, and no series has two: give freq, such as "
            "'h' or 'D'"
        )
    starts = range(0, min(len(times) - 8, 400), 8)
    for part in (times, *(times[start : start + 8] for start in starts)):
        found = _regular(part)  # of the whole, else of a stretch without a gap
        if found is not None:
            return found
    gaps = times.to_series().diff().dropna()
    usual = gaps.mode().iloc[0]
    if 2 * (gaps == usual).sum() < len(gaps):
        raise FrameError(
            f"series {name!r}, {times[0]} to {times[-1]}: keeps no step, rows follow each other "
            f"after {gaps.min()} to {gaps.max()}; resample it, or give its freq"
        )
    return pd.tseries.frequencies.to_offset(usual)


def _regular(times: pd.Index) -> Any:
    """The step that all of these times keep, None where they keep none."""
    if len(times) < 3:
        return None
    if not isinstance(times, pd.DatetimeIndex):
        steps = np.unique(np.diff(times.to_numpy()))
        return int(steps[0]) if len(steps) == 1 else None
    with warnings.catch_warnings():  # pandas 3 will return another type, which is fine too
        warnings.simplefilter("ignore")
        found = pd.infer_freq(times)
    return None if found is None else pd.tseries.frequencies.to_offset(found)


def grid(first: Any, count: int, freq: Any) -> pd.Index:
    """Return ``count`` times from ``first`` on."""
    if isinstance(freq, int):
        return pd.Index(np.arange(count) * freq + first)
    return pd.date_range(first, periods=count, freq=freq)


def following(times: pd.Index, count: int, freq: Any) -> pd.Index:
    """Return the ``count`` times after the last one."""
    return grid(times[-1], count + 1, freq)[1:]


def on_grid(
    name: str, times: pd.Index, freq: Any, whose: str | None = None
) -> tuple[NDArray[np.int64], pd.Index]:
    """Return where the times lie on their grid, and the whole grid.

    :param whose: what ``freq`` is, such as ``fitted was``: times that keep another step are then
        refused. None lets a step through that leaves places of the grid empty.
    :raises FrameError: for a time between two steps.
    """
    if isinstance(freq, int):
        steps = pd.Index(np.arange(times[0], times[-1] + 1, freq))
    else:
        steps = pd.date_range(times[0], times[-1], freq=freq)
    places = steps.get_indexer(times)
    own = _regular(times) if len(places) < len(steps) or (places < 0).any() else None
    if whose is not None and own is not None and spelt(own) != spelt(freq):
        raise FrameError(
            f"series {name!r}, {times[1]}: its step is {spelt(own)!r}, {whose} {spelt(freq)!r}; "
            "resample it, or use a forecaster of its own for it"
        )
    if (places < 0).any():
        raise FrameError(
            f"series {name!r}, {times[places < 0][0]}: lies between the steps of freq = "
            f"{spelt(freq)!r} from {times[0]}; resample it, or give its freq"
        )
    return places, steps
