"""Typed configs of ``graph-link``: the model, its data and its use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_graph.data.config import Source
from mamba_graph.networks.config import GraphConfig
from mamba_graph.node_level.config import NodesTrain

Share = Annotated[float, Field(gt=0, lt=0.5)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinkConfig(GraphConfig):
    """Everything the model is built from: what all models of graphs are."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinksData:
    """One undirected graph; some of its edges are hidden, to be found among pairs without one."""

    source: Source
    """Where it comes from; of several graphs each is taken by itself."""
    val_share: Share = 0.05
    """Part of the edges held out to choose by."""
    test_share: Share = 0.1
    """Part to report."""
    train_share: Share = 0.3
    """Part of the edges left that is hidden in a training step, drawn anew at every visit."""
    split_seed: int = 0
    """Of the drawn parts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinksTrain(NodesTrain):
    """Training with defaults for one graph per step."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LinksPredict:
    """How files are read and what is asked."""

    directed: bool = False
    """Whether edges lead one way only."""
    top: Annotated[int, Field(ge=1)] = 10
    """Partners to name per node, the most likely first, among those it has no edge to."""
