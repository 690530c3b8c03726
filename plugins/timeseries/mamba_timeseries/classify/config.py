"""Typed configs of ``ts-classify``: the model, its data and its use on files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_core.training.config import TrainConfig

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierConfig:
    """Everything the model is built from."""

    classes: Annotated[int, Field(ge=2)] = 2
    """Number of answers."""
    labels: tuple[str, ...] = ()
    """Their names; empty numbers them in the order of the names in the data."""
    channels: Count = 1
    """Values per step."""
    d_model: Count = 64
    """Width of a token, one token per step."""
    kernel_size: Annotated[int, Field(ge=1)] = 7
    """Steps that a token sees before any mixer, odd."""
    depth: Count = 1
    """Mixer layers."""
    mixer: MixerChoice = MixerChoice("mamba1", d_state=16)
    """A registered causal mixer and its fields."""
    normalise: bool = True
    """Bring every channel of a series to mean 0 and deviation 1; False keeps level and scale."""
    dropout: Share = 0.1
    """Before the head."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifyData:
    """Series with labels in files of the UCR and UEA archive's form (.ts), or long tables."""

    train: Path
    """A .ts file, or a .csv or .parquet file with a row per series and time."""
    test: Path
    """To report; the same form."""
    val_share: Share = 0.2
    """Part of the training series to choose a model by, of every class alike."""
    id: str = "unique_id"
    """Column of a table with the name of the series; rows of one follow each other in time."""
    label: str = "label"
    """Column with its class."""
    values: tuple[str, ...] = ("y",)
    """Columns with its channels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifyTrain(TrainConfig):
    """Training with defaults for small sets."""

    batch_size: Count = 16
    """Series per process and forward pass."""
    max_epochs: Count = 60
    """Passes through the training series; not used when max_steps is given."""
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    """Steps of linear warm-up."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifyPredict:
    """How files are classified."""

    id: str = "unique_id"
    """Column of a table with the name of the series."""
    values: tuple[str, ...] = ("y",)
    """Columns with its channels."""
    batch_size: Count = 64
    """Series at once."""
