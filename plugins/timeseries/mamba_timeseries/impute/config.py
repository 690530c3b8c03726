"""Typed configs of ``ts-impute``: the model, its data and its use on files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReconstructorConfig:
    """Everything the network that fills gaps is built from."""

    size: Annotated[int, Field(ge=4)] = 96
    """Steps of a window."""
    channels: Count = 1
    """Series that are read together; 1 treats every series by itself."""
    columns: tuple[str, ...] = ()
    """Names of the channels in the order the model reads them; empty takes that of the names."""
    d_model: Count = 64
    """Width of a token, one token per step."""
    depth: Count = 2
    """Mixer layers, each followed by an MLP."""
    mixer: MixerChoice = MixerChoice("mamba2", d_state=16, headdim=16)
    """A registered mixer and its fields."""
    scan_order: str = "bidirectional"
    """Order along time; its paths are the directions of reading."""
    merge: Merge = "mean"
    """How the paths become one."""

    @property
    def covariates(self) -> int:
        """None are read."""
        return 0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TableConfig:
    """A table in a file, and how it is cut into training, validation and test."""

    path: Path
    """A .csv or .parquet file: long (a row per series and time) or wide (a column per series)."""
    id: str = "unique_id"
    """Column with the name of the series; a file without it is read as wide."""
    time: str = "ds"
    """Column with the time."""
    target: str = "y"
    """Column with the values, of a long file."""
    freq: str | None = None
    """Step such as ``h``, ``D``, ``MS``; None finds it out."""
    stride: Count = 8
    """Steps between training windows; validation and test windows do not overlap."""
    val_share: Share = 0.1
    """Part of the rows to choose a model by."""
    test_share: Share = 0.2
    """Part of the rows to report, the last ones."""

    @model_validator(mode="after")
    def _something_is_left(self) -> TableConfig:
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share + test_share leaves no row to learn from")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImputeData(TableConfig):
    """A table whose observed values are hidden at random, to be filled."""

    hidden: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the steps that is hidden."""
    gap: Count = 4
    """Mean length of a hidden stretch, in steps."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImputePredict:
    """How files are filled."""

    id: str = "unique_id"
    """Column with the name of the series; a file without it is read as wide."""
    time: str = "ds"
    """Column with the time."""
    target: str = "y"
    """Column with the values, of a long file."""
    freq: str | None = None
    """Step such as ``h``, ``D``, ``MS``; None finds it out."""
