"""Typed configs of ``graph-node``: the model, its data and its use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.training.config import TrainConfig
from mamba_graph.data.config import Source
from mamba_graph.networks.config import Count, GraphConfig

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NodeClassifierConfig(GraphConfig):
    """Everything the model is built from."""

    classes: Annotated[int, Field(ge=2)] = 2
    """Number of answers."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NodesData:
    """One graph, or several, with an answer for nodes."""

    source: Source
    """Where it comes from; masks of training, validation and test nodes are used if it has
    some."""
    split: Annotated[int, Field(ge=0)] = 0
    """Which of several masks."""
    parts: Count = 1
    """Cut each graph into so many regions for training, drawn anew in every epoch; validation
    and test read it whole."""
    val_share: Share = 0.2
    """Without masks: part of the nodes held out to choose by."""
    test_share: Share = 0.2
    """Without masks: part to report."""
    split_seed: int = 0
    """Of the drawn parts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NodesTrain(TrainConfig):
    """Training with defaults for one graph per step."""

    batch_size: Count = 1
    """Graphs, or regions of one, per process and forward pass."""
    max_epochs: Count = 200
    """Passes through the graph; not used when max_steps is given."""
    lr: Annotated[float, Field(gt=0)] = 3e-3
    """Highest learning rate of AdamW."""
    warmup_steps: Annotated[int, Field(ge=0)] = 10
    """Steps of linear warm-up."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of averaged weights; None keeps the raw ones: batch norms have statistics of them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NodesPredict:
    """How files are read."""

    directed: bool = False
    """Whether edges lead one way only."""
