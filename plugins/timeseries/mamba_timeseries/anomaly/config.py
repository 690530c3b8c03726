"""Typed configs of ``ts-anomaly``: the model, its data and its use on files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_timeseries.impute.config import ReconstructorConfig, WindowData
from mamba_timeseries.table import Count, TableColumns


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AnomalyConfig(ReconstructorConfig):
    """A reconstructor, and what is hidden from it when it judges."""

    folds: Annotated[int, Field(ge=2)] = 4
    """Every step is judged from a pass in which it and one step of ``folds`` are hidden."""
    block: Count = 2
    """Neighbouring steps that are hidden together."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AnomalyData(WindowData):
    """A table, with or without a column that marks the anomalies."""

    label: str | None = None
    """Column of 0 and 1 in a long file; None knows of none, and AUROC is then not a number."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AnomalyPredict(TableColumns):
    """How files are judged."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of all steps that are called anomalies: those with the highest scores."""
