"""Tables of series, checked before anything is computed: pandas or polars, long or wide.

A message names the series, the timestamp and the rule.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamba_timeseries.errors import FrameError
from mamba_timeseries.times import Names, check_rising, on_grid, read_times, spelt, step_of

Array = NDArray[np.float64]
Fill = Literal["error", "ffill", "linear", "mask"]


@dataclass(frozen=True)
class Columns:
    """Which columns mean what."""

    id: str = "unique_id"
    time: str = "ds"
    target: str = "y"
    known: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        every = [self.id, self.time, self.target, *self.known]
        twice = [name for name in every if every.count(name) > 1]
        if twice:
            raise FrameError(
                f"the column {twice[0]!r} is named twice among id = {self.id!r}, time = "
                f"{self.time!r}, target = {self.target!r} and the known or static {self.known}: "
                "each has one meaning"
            )


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
    ignored: tuple[str, ...] = ()
    """Columns of the table that nothing was read from."""
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
    fitted: bool = False,
) -> Collection:
    """Check a long table and put its series on a regular grid.

    :param frame: a pandas or polars data frame, a row per series and time; times of a series
        rise.
    :param freq: the step, such as ``"h"``, ``"MS"`` or 1; None finds it out.
    :param fill: what is done about missing values and steps.
    :param target: False for rows that hold known columns only.
    :param fitted: ``freq`` is that of a fitted model: series that keep another step are refused,
        where ``fill`` would make gaps of it.
    :raises FrameError: for whatever cannot be used.
    """
    columns = columns or Columns()
    if fill not in get_args(Fill):
        raise FrameError(f"fill = {fill!r} must be one of {', '.join(get_args(Fill))}")
    wanted = [columns.id, columns.time, *([columns.target] if target else []), *columns.known]
    table = _with_columns(frame, wanted)
    names = _names(table[columns.id])
    times = read_times(table[columns.time], names)
    y = _floats(table, columns.target, names, times) if target else np.zeros(len(table))
    known = np.empty((len(table), len(columns.known)))
    for k, name in enumerate(columns.known):
        known[:, k] = _floats(table, name, names, times)
    rows = _rows_by_name(names)
    for name, places in rows.items():
        check_rising(name, times[places])
    step = step_of(freq, {n: times[r] for n, r in rows.items()})
    whose = "fitted was" if fitted else "that of the others is" if freq is None else "freq is"
    sparse = freq is not None and not fitted and fill != "error"  # asked for gaps, and gets them
    rules = _Rules(columns, step, fill, target, None if sparse else whose, fitted)
    series = []
    for name, places in rows.items():
        series.append(_series(name, times[places], y[places], known[places], rules))
    backend = nw.get_native_namespace(table).__name__
    ignored = tuple(c for c in table.columns if c not in wanted)
    return Collection(tuple(series), step, columns, backend, ignored)


@dataclass(frozen=True)
class _Rules:
    """What holds for all series of a table."""

    columns: Columns
    freq: Any
    fill: Fill
    target: bool
    whose: str | None
    """What ``freq`` is, where no other step is let through."""
    fitted: bool
    """Whether the rows go on from others, so that they may hold no value at all."""


def _with_columns(frame: Any, wanted: list[str]) -> Any:
    """A data frame of either kind, which has rows and these columns."""
    try:
        table = nw.from_native(frame, eager_only=True)
    except TypeError as error:
        raise FrameError(f"a pandas or polars data frame is needed, not {type(frame)}") from error
    except nw.exceptions.DuplicateError as error:
        raise FrameError(f"columns of the table have the same name: {list(frame)}") from error
    for name in wanted:
        if name not in table.columns:
            raise FrameError(f"the table has no column {name!r}; there are {table.columns}")
    if not len(table):
        raise FrameError("the table has no row")
    return table


def _names(column: Any) -> Names:
    values = column.to_list()
    for row, value in enumerate(values):
        if value is None or value != value:  # NaN, or pandas' NA
            raise FrameError(f"row {row}: {column.name} is missing; name the series of every row")
    return np.array([str(value) for value in values])


def _rows_by_name(names: Names) -> dict[str, NDArray[np.int64]]:
    """The rows of every series, in the table's order; one sort, however many series."""
    every, codes = np.unique(names, return_inverse=True)
    ends = np.cumsum(np.bincount(codes, minlength=len(every)))
    rows = np.split(np.argsort(codes, kind="stable"), ends[:-1])
    return {str(name): own for name, own in zip(every, rows, strict=True)}


def _floats(table: Any, name: str, names: Names, times: pd.Index) -> Array:
    try:
        if np.iscomplexobj(table[name].to_numpy()):
            raise TypeError("complex numbers")
        return np.array(table[name].cast(nw.Float64).to_numpy(), dtype=np.float64)
    except Exception as error:
        for row, value in enumerate(table[name].to_list()):
            try:
                float("nan" if value is None or value is pd.NA else value)
            except (ValueError, TypeError):
                raise FrameError(
                    f"series {str(names[row])!r}, {times[row]}: {name} is {value!r}, no number"
                ) from error
        raise FrameError(f"the column {name!r} must hold numbers: {error}") from error


def _series(name: str, times: pd.Index, y: Array, known: Array, rules: _Rules) -> Series:
    columns = rules.columns
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
    places, steps = on_grid(name, times, rules.freq, rules.whose)
    if len(places) < len(steps):
        if rules.fill == "error" or known.shape[1]:
            late = steps[int(np.setdiff1d(np.arange(len(steps)), places)[0])]
            way = "add the rows" if known.shape[1] else "add the rows, or choose fill"
            raise FrameError(
                f"series {name!r}, {late}: this step of {spelt(rules.freq)!r} is missing; {way}"
            )
        whole = np.full(len(steps), np.nan)
        whole[places] = y
        y, known = whole, np.empty((len(steps), 0))
    observed = np.isfinite(y)
    if rules.target and not observed.any() and not (rules.fitted and rules.fill == "mask"):
        raise FrameError(
            f"series {name!r}, {steps[0]} to {steps[-1]}: no value of {columns.target} is there"
        )
    if not observed.all():
        y, observed = _filled(name, steps, y, observed, rules)
    if rules.target and observed.sum() > 1 and np.ptp(y[observed]) == 0:
        warnings.warn(
            f"series {name!r} is constant ({y[observed][0]:g}) from {steps[0]} to {steps[-1]}: its "
            "forecast will be too",
            stacklevel=4,
        )
    return Series(name, steps, y, observed, known)


def _filled(
    name: str,
    times: pd.Index,
    y: Array,
    observed: NDArray[np.bool_],
    rules: _Rules,
) -> tuple[Array, NDArray[np.bool_]]:
    fill = rules.fill
    if fill == "error":
        raise FrameError(
            f"series {name!r}, {times[~observed][0]}: {rules.columns.target} is missing "
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
