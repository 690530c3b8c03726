"""Typed configs of ``graph-cls`` and ``graph-reg``: the models, their data and their use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.training.config import TrainConfig
from mamba_graph.data.config import Source
from mamba_graph.networks.config import Count, GraphConfig

Share = Annotated[float, Field(ge=0, lt=1)]
Pool = Literal["mean", "sum", "max"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphClassifierConfig(GraphConfig):
    """Everything the model of ``graph-cls`` is built from."""

    classes: Annotated[int, Field(ge=2)] = 2
    """Number of answers."""
    pool: Pool = "mean"
    """How the nodes of a graph become one vector."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphRegressorConfig(GraphConfig):
    """Everything the model of ``graph-reg`` is built from."""

    targets: Count = 1
    """Numbers to find."""
    pool: Pool = "mean"
    """How the nodes of a graph become one vector."""
    target_mean: float = 0.0
    """Of the training targets: what an untrained model answers."""
    target_scale: Annotated[float, Field(gt=0)] = 1.0
    """Deviation of the training targets."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphsData:
    """Graphs with an answer each, and how they are parted."""

    source: Source
    """Where they come from; of a set with official parts these are used."""
    folds: Path | None = None
    """A file with a line per graph: the fold, from 1 on, in which it is tested; 0 is never."""
    fold: Count = 1
    """Which fold is tested. One in five of the others' graphs are held out to choose by."""
    val_share: Share = 0.1
    """Without folds: part held out to choose by."""
    test_share: Share = 0.1
    """Without folds: part to report."""
    split_seed: int = 0
    """Of the drawn parts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphsTrain(TrainConfig):
    """Training with defaults for sets of about a thousand small graphs."""

    batch_size: Count = 32
    """Graphs per process and forward pass."""
    max_epochs: Count = 100
    """Passes through the training graphs; not used when max_steps is given."""
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    """Steps of linear warm-up."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of averaged weights; None keeps the raw ones: batch norms have statistics of them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphsPredict:
    """How files are read."""

    graph: str | None = "graph"
    """Column with the graph, when the tables hold several; they are one graph without it."""
    directed: bool = False
    """Whether edges lead one way only."""
    batch_size: Count = 64
    """Graphs at once."""
