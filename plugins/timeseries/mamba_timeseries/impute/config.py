"""Typed configs of ``ts-impute``: the model, its data and its use on files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice
from mamba_timeseries.table import Count, TableColumns, TableData


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
class WindowData(TableData):
    """A table that windows are cut from, none across a border of its parts."""

    stride: Count = 8
    """Steps between training windows; validation and test windows do not overlap."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImputeData(WindowData):
    """A table whose observed values are hidden at random, to be filled."""

    hidden: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Share of the steps that is hidden."""
    gap: Annotated[float, Field(ge=1)] = 4
    """Mean length of a hidden stretch, in steps; ``1 / (1 - hidden)`` hides each step by itself."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImputePredict(TableColumns):
    """How files are filled."""
