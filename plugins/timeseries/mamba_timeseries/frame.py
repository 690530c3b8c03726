"""Tables of series, checked before anything is computed: pandas or polars, long or wide.

A message names the series, the timestamp and the rule.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
Fill = Literal["error", "ffill", "linear", "mask"]

_NAMED = 3
"""Names shown of a longer list."""


class FrameError(ValueError):
    """Raised for a table that cannot be used; the message says where and why."""


@dataclass(frozen=True)
class Columns:
    """Which columns mean what."""

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """One series on a regular grid of times."""

    name: str
    times: pd.Index
    y: Array
    """``(steps,)``, finite everywhere; without meaning where not observed."""
    observed: NDArray[np.bool_]
    """``(steps,)``."""
    known: Array
    """``(steps, covariates)``."""

    def __len__(self) -> int:
        return len(self.y)

    def cut(self, stop: int) -> Series:
        """Return the first ``stop`` steps."""
        return Series(
            self.name, self.times[:stop], self.y[:stop], self.observed[:stop], self.known[:stop]
        )


@dataclass(frozen=True)
class Collection:
    """Series by name, in the order of their names, with one step of time."""

    series: tuple[Series, ...]
    freq: Any
    """A pandas frequency such as ``"h"``, or a whole number for whole-number times."""
    columns: Columns
    backend: str = "pandas"
    """Whose data frames the table came as."""
    by_name: dict[str, Series] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {s.name: s for s in self.series})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the series, sorted."""
        return tuple(s.name for s in self.series)


def read_file(path: Path) -> pd.DataFrame:
    """Read a .csv or .parquet file.

    :raises FileNotFoundError: when it is not there.
    :raises FrameError: for another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a .csv or .parquet file")
    if path.suffix == ".parquet":
        try:
            return pd.read_parquet(path)
        except ImportError as error:
            raise FrameError(
                f"{path} needs pyarrow: pip install 'mamba-timeseries[parquet]'"
            ) from error
    if path.suffix == ".csv":
        return pd.read_csv(path)
    raise FrameError(f"{path} must be a .csv or .parquet file")


def collect_file(
    path: Path, columns: Columns, *, freq: Any = None, fill: Fill = "error", target: bool = True
) -> Collection:
    """Read a long file, or a wide one: it has no column ``columns.id``."""
    frame = widened(read_file(path), columns)
    return collect(frame, columns, freq=freq, fill=fill, target=target)


def widened(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return a wide table as a long one; a long one is returned as it is.

    :param frame: wide when it has no column ``columns.id``: a column per series, times in
        ``columns.time`` or else in the first column.
    :raises FrameError: for known columns that are not there.
    """
    if columns.id in frame:
        return frame
    time = columns.time if columns.time in frame else frame.columns[0]
    missing = [name for name in columns.known if name not in frame]
    if missing:
        raise FrameError(f"the table has no column {missing[0]!r}; there are {list(frame)}")
    long = frame.melt(
        id_vars=[time, *columns.known], var_name=columns.id, value_name=columns.target
    )
    return long.rename(columns={time: columns.time})


def collect(
    frame: Any,
    columns: Columns | None = None,
    *,
    freq: Any = None,
    fill: Fill = "error",
    target: bool = True,
) -> Collection:
    """Check a long table and put its series on a regular grid.

    :param frame: a pandas or polars data frame, a row per series and time; times of a series
        rise.
    :param freq: the step, such as ``"h"``, ``"MS"`` or 1; None finds it out.
    :param fill: what is done about missing values and steps.
    :param target: False for rows that hold known columns only.
    :raises FrameError: for whatever cannot be used.
    """
    columns = columns or Columns()
    table = nw.from_native(frame, eager_only=True)
    wanted = [columns.id, columns.time, *([columns.target] if target else []), *columns.known]
    for name in wanted:
        if name not in table.columns:
            raise FrameError(f"the table has no column {name!r}; there are {table.columns}")
    if not len(table):
        raise FrameError("the table has no row")
    names = np.array([str(n) for n in table[columns.id].to_list()])
    order = [str(name) for name in np.unique(names)]
    times = _times(table[columns.time], names)
    y = _floats(table, columns.target) if target else np.zeros(len(table))
    known = np.stack([_floats(table, k) for k in columns.known], axis=1) if columns.known else None
    known = np.empty((len(table), 0)) if known is None else known
    rows = {name: np.flatnonzero(names == name) for name in order}
    for name in order:
        _check_rising(name, times[rows[name]])
    step = _step(freq, {n: times[r] for n, r in rows.items()})
    series = [
        _series(n, times[r], y[r], known[r], columns, step, fill, target) for n, r in rows.items()
    ]
    backend = nw.get_native_namespace(table).__name__
    return Collection(tuple(series), step, columns, backend)


def _floats(table: Any, name: str) -> Array:
    try:
        return np.array(table[name].cast(nw.Float64).to_numpy(), dtype=np.float64)
    except Exception as error:
        raise FrameError(f"the column {name!r} must hold numbers: {error}") from error


def _times(column: Any, names: NDArray[np.str_]) -> pd.Index:
    if column.dtype.is_integer():
        return pd.Index(column.to_numpy())
    if isinstance(column.dtype, nw.Datetime) and column.dtype.time_zone:
        zone = column.dtype.time_zone
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        return pd.DatetimeIndex(utc, tz="UTC").tz_convert(zone)
    if isinstance(column.dtype, nw.Datetime | nw.Date):
        return pd.DatetimeIndex(column.to_numpy())
    return _parsed(column.to_list(), names)


def _parsed(values: list[Any], names: NDArray[np.str_]) -> pd.Index:
    """Text or mixed objects as times; one time zone, or none, for all."""
    stamps: list[pd.Timestamp] = []
    for value, name in zip(values, names, strict=True):
        stamp = pd.NaT if value is None else pd.to_datetime(value, errors="coerce")
        if stamp is pd.NaT:
            raise FrameError(f"series {str(name)!r}: {value!r} is no timestamp")
        if stamps and str(stamp.tz) != str(stamps[0].tz):
            raise FrameError(
                f"series {str(name)!r}, {value}: time zone {stamp.tz}, before it {stamps[0].tz}; "
                "give all times in one zone"
            )
        stamps.append(stamp)
    return pd.DatetimeIndex(stamps)


def _check_rising(name: str, times: pd.Index) -> None:
    if times.hasnans:
        raise FrameError(f"series {name!r}: a timestamp is missing")
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


def _step(freq: Any, times: dict[str, pd.Index]) -> Any:
    """The step that is given, or that of the longest series; all have one."""
    longest = max(times.values(), key=len)
    if isinstance(longest, pd.DatetimeIndex):
        return _offset(freq, longest)
    if freq is not None:
        return int(freq)
    return int(np.diff(longest.to_numpy()).min()) if len(longest) > 1 else 1


def _offset(freq: Any, times: pd.DatetimeIndex) -> Any:
    if freq is not None:
        try:
            return pd.tseries.frequencies.to_offset(freq)
        except ValueError as error:
            raise FrameError(f"freq = {freq!r} is no step of time: {error}") from error
    if len(times) < 2:
        raise FrameError("no series has two rows: give freq, such as 'h' or 'D'")
    starts = range(0, min(len(times) - 8, 400), 8)
    for part in (times, *(times[start : start + 8] for start in starts)):
        found = _inferred(part)  # of the whole, else of a stretch without a gap
        if found is not None:
            return found
    gaps = times.to_series().diff().dropna()
    return pd.tseries.frequencies.to_offset(gaps.mode().iloc[0])


def _inferred(times: pd.DatetimeIndex) -> Any:
    if len(times) < 3:
        return None
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


def _series(
    name: str,
    times: pd.Index,
    y: Array,
    known: Array,
    columns: Columns,
    freq: Any,
    fill: Fill,
    target: bool,
) -> Series:
    infinite = np.isinf(y)
    if infinite.any():
        raise FrameError(f"series {name!r}, {times[infinite][0]}: {columns.target} is infinite")
    bad = ~np.isfinite(known)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise FrameError(
            f"series {name!r}, {times[row]}: {columns.known[column]} is missing or infinite; what "
            "is known ahead must be known everywhere"
        )
    places, steps = _on_grid(name, times, freq)
    if len(places) < len(steps):
        if fill == "error" or known.shape[1]:
            late = steps[int(np.setdiff1d(np.arange(len(steps)), places)[0])]
            way = "add the rows" if known.shape[1] else "add the rows, or choose fill"
            raise FrameError(f"series {name!r}, {late}: this step ({freq}) is missing; {way}")
        whole = np.full(len(steps), np.nan)
        whole[places] = y
        y = whole
    observed = np.isfinite(y)
    if target and not observed.any():
        raise FrameError(f"series {name!r}: no value of {columns.target} is there")
    if not observed.all():
        y, observed = _filled(name, steps, y, observed, columns, fill)
    if target and len(y) > 1 and np.ptp(y[observed]) == 0:
        warnings.warn(
            f"series {name!r} is constant ({y[observed][0]:g}) from {steps[0]} to {steps[-1]}: its "
            "forecast will be too",
            stacklevel=4,
        )
    return Series(name, steps, y, observed, known)


def _on_grid(name: str, times: pd.Index, freq: Any) -> tuple[NDArray[np.int64], pd.Index]:
    """Where the times lie on their grid, and the whole grid.

    :raises FrameError: for a time between two steps.
    """
    if isinstance(freq, int):
        steps = pd.Index(np.arange(times[0], times[-1] + 1, freq))
    else:
        steps = pd.date_range(times[0], times[-1], freq=freq)
    places = steps.get_indexer(times)
    if (places < 0).any():
        raise FrameError(
            f"series {name!r}, {times[places < 0][0]}: lies between the steps of freq = "
            f"{getattr(freq, 'freqstr', freq)!r} from {times[0]}; resample it, or give its freq"
        )
    return places, steps


def _filled(
    name: str,
    times: pd.Index,
    y: Array,
    observed: NDArray[np.bool_],
    columns: Columns,
    fill: Fill,
) -> tuple[Array, NDArray[np.bool_]]:
    if fill == "error":
        raise FrameError(
            f"series {name!r}, {times[~observed][0]}: {columns.target} is missing "
            f"({int((~observed).sum())} of {len(y)}); choose fill = 'ffill', 'linear' or 'mask'"
        )
    if fill == "mask":
        return np.where(observed, y, 0.0), observed
    if fill == "ffill":
        last = np.maximum.accumulate(np.where(observed, np.arange(len(y)), -1))
        if last[0] < 0:
            raise FrameError(
                f"series {name!r}, {times[0]}: nothing before it to carry on; start later, or "
                "choose fill = 'mask'"
            )
        return y[last], np.ones_like(observed)
    places = np.arange(len(y))
    return np.interp(places, places[observed], y[observed]), np.ones_like(observed)


def listed(names: Any) -> str:
    """Return the first few names and how many more there are."""
    names = list(names)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(n) for n in names[:_NAMED]) + more


def to_native(data: dict[str, Any], backend: str) -> Any:
    """Return columns as a data frame of the kind the user gave."""
    frame = pd.DataFrame(data)
    if backend == "pandas":
        return frame
    import polars as pl

    return pl.DataFrame({name: _plain(frame[name]) for name in frame})


def _plain(column: pd.Series) -> Any:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        import polars as pl

        naive = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pl.Series(naive).dt.replace_time_zone("UTC").dt.convert_time_zone(str(column.dt.tz))
    return column.to_list() if column.dtype == object else column.to_numpy()
