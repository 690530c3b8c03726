"""The standard long-horizon protocol: borders, scaler, windows, errors over all of them.

After TSLib's ``data_provider``, with one difference on purpose: no window is ever left out, so an
error does not depend on the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Predict = Callable[[Array], Array]
"""``past (windows, input_size, channels) -> (windows, h, channels)``."""

PARTS = ("train", "val", "test")

_ETT_MONTH = 30 * 24
_ETT_MONTHS = (12, 4, 4)
"""Of 30 days: ETT's year has 360 of them, kept because every published number has it."""

FILES = {
    "ETTh1": "ETTh1.csv",
    "Exchange": "exchange_rate.txt",
    "ILI": "national_illness.csv",
}
"""The standard sets this was checked on, and their files."""


def borders(rows: int, *, ett_hourly: bool = False) -> tuple[int, int, int]:
    """Return where train, validation and test end, in rows.

    :param rows: of the whole file.
    :param ett_hourly: 12, 4 and 4 months of 30 days, as for ETTh1 and ETTh2; what is left over
        is not used. Otherwise 70 % train, 20 % test, the rest between them validation.
    """
    if ett_hourly:
        train, val, test = (months * _ETT_MONTH for months in _ETT_MONTHS)
        return train, train + val, train + val + test
    train, test = rows * 7 // 10, rows * 2 // 10
    return train, rows - test, rows


@dataclass(frozen=True)
class Scaler:
    """Mean and population standard deviation per column, of the rows it was fitted on."""

    center: Array
    """``(channels,)``."""
    scale: Array
    """``(channels,)``; 1 for a constant column."""

    @classmethod
    def fit(cls, values: Array) -> Scaler:
        """Measure the columns; NaN is left out.

        :param values: ``(rows, channels)``, the training rows only.
        """
        with np.errstate(invalid="ignore"):
            scale = np.nanstd(values, axis=0)
        return cls(np.nanmean(values, axis=0), np.where(scale > 0, scale, 1.0))

    def apply(self, values: Array) -> Array:
        """Return standardised values, ``(..., channels)``."""
        return (values - self.center) / self.scale

    def invert(self, values: Array) -> Array:
        """Return values in original units, ``(..., channels)``."""
        return values * self.scale + self.center


@dataclass(frozen=True)
class Windows:
    """All windows of stride 1 over some rows: ``input_size`` known, then ``h`` to forecast.

    :param values: ``(rows, channels)``.
    """

    values: Array
    input_size: int
    h: int

    def __len__(self) -> int:
        return max(len(self.values) - self.input_size - self.h + 1, 0)

    def past(self, start: int = 0, stop: int | None = None) -> Array:
        """Return windows ``start`` to ``stop``, a view ``(windows, input_size, channels)``."""
        return self._view(self.input_size, 0)[start:stop]

    def target(self, start: int = 0, stop: int | None = None) -> Array:
        """Return what follows those windows, a view ``(windows, h, channels)``."""
        return self._view(self.h, self.input_size)[start:stop]

    def _view(self, size: int, offset: int) -> Array:
        if not len(self):
            return np.empty((0, size, self.values.shape[1]))
        view = np.lib.stride_tricks.sliding_window_view(self.values[offset:], size, axis=0)
        return view[: len(self)].swapaxes(1, 2)


@dataclass(frozen=True)
class StandardSet:
    """A file cut into train, validation and test, standardised by its training rows.

    :param values: ``(rows, channels)`` in original units.
    :param ends: from :func:`borders`.
    """

    values: Array
    ends: tuple[int, int, int]

    @property
    def scaler(self) -> Scaler:
        """Fitted on the training rows only."""
        return Scaler.fit(self.values[: self.ends[0]])

    def windows(self, part: str, *, input_size: int, h: int) -> Windows:
        """Return the windows of ``train``, ``val`` or ``test``.

        The later parts borrow ``input_size`` rows before their border as known past, so the
        number of test windows does not depend on the look-back.

        :raises ValueError: for another part, or one too short for a single window.
        """
        if part not in PARTS:
            raise ValueError(f"part = {part!r} must be one of {', '.join(PARTS)}")
        index = PARTS.index(part)
        start = 0 if index == 0 else self.ends[index - 1] - input_size
        rows = self.ends[index] - start
        if start < 0 or rows < input_size + h:
            raise ValueError(
                f"the part '{part}' has {rows} rows; input_size = {input_size} and h = {h} need "
                f"{input_size + h}: choose smaller ones"
            )
        return Windows(self.scaler.apply(self.values[start : self.ends[index]]), input_size, h)


def load_standard(name: str, folder: Path) -> StandardSet:
    """Read one of the sets in :data:`FILES`.

    :param folder: holds the file, whole and unmodified.
    :raises ValueError: for another name.
    :raises FileNotFoundError: when the file is not there.
    """
    if name not in FILES:
        raise ValueError(f"{name!r} is no standard set here: {', '.join(FILES)}")
    path = Path(folder) / FILES[name]
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the folder that holds {FILES[name]}")
    dated = path.suffix == ".csv"
    with path.open(encoding="utf-8") as file:
        columns = len(file.readline().split(","))
    values = np.loadtxt(
        path, delimiter=",", skiprows=int(dated), usecols=range(int(dated), columns)
    )
    return StandardSet(values, borders(len(values), ett_hourly=name == "ETTh1"))


@dataclass(frozen=True)
class Errors:
    """Mean squared and absolute error over all windows, steps and channels."""

    mse: float
    mae: float
    windows: int


def errors(
    predict: Predict, windows: Windows, *, batch_size: int = 256, drop_last: bool = False
) -> Errors:
    """Measure a forecast on every window.

    :param predict: called on batches of windows.
    :param drop_last: leave an incomplete last batch out, as several published tables did. Only
        to compare with those: the result then depends on ``batch_size``.
    :raises ValueError: when there is no window left, or a forecast has another shape.
    """
    squared, absolute, count, measured = 0.0, 0.0, 0, 0
    for start, stop in _batches(len(windows), batch_size, drop_last):
        target = windows.target(start, stop)
        forecast = predict(windows.past(start, stop))
        if forecast.shape != target.shape:
            raise ValueError(f"forecast has shape {forecast.shape}, expected {target.shape}")
        difference = forecast - target
        squared += float(np.square(difference).sum())
        absolute += float(np.abs(difference).sum())
        count += difference.size
        measured += stop - start
    if not count:
        raise ValueError(f"no window is left of {len(windows)} with batch_size = {batch_size}")
    return Errors(squared / count, absolute / count, measured)


def _batches(items: int, size: int, drop_last: bool) -> Iterator[tuple[int, int]]:
    for start in range(0, items, size):
        if start + size <= items or not drop_last:
            yield start, min(start + size, items)
