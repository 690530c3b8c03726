"""What the tasks on tables share: which columns mean what, and how a file is cut into parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_timeseries.forecast.protocol import borders
from mamba_timeseries.frame import Columns

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Ends = tuple[int, int, int]
"""Where training, validation and test of a series end, in steps."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TableColumns:
    """Which columns of a table mean what."""

    id: str = "unique_id"
    """Column with the name of the series; a file without it is read as wide."""
    time: str = "ds"
    """Column with the time; in a wide file the first column when there is none of this name."""
    target: str = "y"
    """Column with the values, of a long file."""
    freq: str | None = None
    """Step such as ``h``, ``D``, ``MS``; None finds it out."""

    def columns(self, known: tuple[str, ...] = ()) -> Columns:
        """Return them as :func:`mamba_timeseries.frame.collect` takes them."""
        return Columns(self.id, self.time, self.target, known)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TableData(TableColumns):
    """A table in a file, and how it is cut into training, validation and test."""

    path: Path
    """A .csv or .parquet file: long (a row per series and time) or wide (a column per series)."""
    split: Literal["shares", "ett_hourly"] = "shares"
    """``shares``: the last rows of every series, by the two shares. ``ett_hourly``: the borders
    of ETTh1 and ETTh2."""
    val_share: Share = 0.1
    """Part of the rows to choose a model by."""
    test_share: Share = 0.2
    """Part of the rows to report, the last ones."""

    @model_validator(mode="after")
    def _something_is_left(self) -> TableData:
        if self.val_share + self.test_share >= 1:
            raise ValueError(
                f"val_share + test_share = {self.val_share + self.test_share:g} leaves no row to "
                "learn from"
            )
        return self

    def ends(self, steps: int) -> Ends:
        """Return where the parts of a series of so many steps end."""
        if self.split == "ett_hourly":
            return borders(steps, ett_hourly=True)
        test, val = int(steps * self.test_share), int(steps * self.val_share)
        return steps - test - val, steps - test, steps
