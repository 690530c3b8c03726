"""Typed configs of the networks, and what the models of all tasks have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Conv = Literal["gcn", "gin", "gatedgcn", "sage", "gat"]
"""Message passing by name; ``gatedgcn`` and ``gin`` read edge features."""
Norm = Literal["batch_norm", "layer_norm", "graph_norm"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphMamba:
    """Message passing beside a scan over the nodes, layer by layer (Wang et al., 2402.00789)."""

    kind: Literal["graph_mamba"] = "graph_mamba"
    """Which network this is."""
    depth: Count = 3
    """Layers."""
    conv: Conv | None = "gatedgcn"
    """The message passing; None scans only."""
    order: str = "degree(noise=true)"
    """A registered order of nodes, or an expression of several."""
    bidirectional: bool = False
    """Also backwards; each graph in its own place."""
    neighbours: Annotated[int, Field(ge=0)] = 0
    """Drawn neighbours that stand before each node in the sequence."""
    merge: Merge = "mean"
    """How the paths become one."""
    residual: bool = True
    """Add a layer's input to what its message passing and its scan return."""
    norm: Norm | None = "batch_norm"
    """After each part."""
    dropout: Rate = 0.0
    """After each part."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gmn:
    """Tokens of a node's neighbourhood, read both ways (Behrouz and Hashemi, 2402.08678).

    From the paper's text, not from code. ``hops = 0``: a token per node, nodes by ``order``.
    From 1 on: random walks of each length give a token each, the longest first, the node last.
    """

    kind: Literal["gmn"] = "gmn"
    """Which network this is."""
    depth: Count = 3
    """Layers."""
    hops: Annotated[int, Field(ge=0)] = 0
    """m, the length of the longest walks; 0 takes nodes as tokens."""
    walks: Count = 4
    """M, walks that make one token together."""
    repeats: Count = 2
    """s, tokens per length."""
    conv: Conv | None = "gatedgcn"
    """The local encoder."""
    order: str = "pagerank"
    """Of node tokens."""
    dropout: Rate = 0.0
    """After each part."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gred:
    """A linear recurrence over the sums of each hop, the farthest first (Ding et al., 2312.01538).

    Needs no order: what it computes does not depend on the nodes' numbers.
    """

    kind: Literal["gred"] = "gred"
    """Which network this is."""
    depth: Count = 3
    """Layers."""
    hops: Count = 5
    """Distance of the farthest nodes that are read."""
    d_state: Count = 32
    """Complex numbers of the recurrence's state."""
    dropout: Rate = 0.0
    """After each part."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Convolutions:
    """Message passing only: GCN, GIN, GatedGCN, with the habits of tuned ones where asked for."""

    kind: Literal["convolutions"] = "convolutions"
    """Which network this is."""
    conv: Conv = "gcn"
    """Which message passing."""
    depth: Count = 2
    """Layers."""
    norm: Norm | None = None
    """After each layer."""
    residual: bool = False
    """Add each layer's input to its output."""
    dropout: Rate = 0.5
    """Before each layer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gps:
    """PyG's ``GPSConv``: message passing beside attention (Rampasek et al., 2205.12454)."""

    kind: Literal["gps"] = "gps"
    """Which network this is."""
    depth: Count = 3
    """Layers."""
    conv: Conv | None = "gin"
    """The message passing."""
    heads: Count = 4
    """Of the attention."""
    attention: Literal["multihead", "performer"] = "multihead"
    """Exact, or linear in the nodes."""
    dropout: Rate = 0.0
    """After each part."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Polynormer:
    """PyG's Polynormer: gated local, then linear global attention (Deng et al., 2403.01232)."""

    kind: Literal["polynormer"] = "polynormer"
    """Which network this is."""
    local_layers: Count = 7
    """Of local attention."""
    global_layers: Annotated[int, Field(ge=0)] = 2
    """Of global attention."""
    heads: Count = 8
    """Of both."""
    post_bn: bool = True
    """A batch norm in each local layer, PyG's name for it."""
    dropout: Rate = 0.3
    """After each layer."""


Network = Annotated[
    GraphMamba | Gmn | Gred | Convolutions | Gps | Polynormer, Field(discriminator="kind")
]
"""What stands between encoder and head."""
SCANS = ("graph_mamba", "gmn")
"""Networks with a mixer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RandomWalk:
    """Chances to be back after 1, 2, ... steps of a random walk (PyG's ``AddRandomWalkPE``)."""

    kind: Literal["random_walk"] = "random_walk"
    """Which encoding this is."""
    size: Count = 16
    """Steps of the longest walk."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Laplacian:
    """First eigenvectors of the normalised Laplacian, their signs drawn in training."""

    kind: Literal["laplacian"] = "laplacian"
    """Which encoding this is."""
    size: Count = 8
    """Eigenvectors; small graphs have zeros for those they lack."""


Encoding = Annotated[RandomWalk | Laplacian, Field(discriminator="kind")]
"""What is known of a node's place before any layer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GraphConfig:
    """What the models of all tasks are built from."""

    features: Count = 8
    """Numbers per node."""
    degrees: bool = False
    """For graphs whose nodes have no features: read degrees as ``features`` columns, one for
    each up to ``features - 2``, the last for more."""
    edge_features: Annotated[int, Field(ge=0)] = 0
    """Numbers per edge; 0 reads none."""
    categories: tuple[Count, ...] = ()
    """When node features are the numbers of categories: how many each has. Empty: they are
    quantities."""
    edge_categories: tuple[Count, ...] = ()
    """The same for edges."""
    d_model: Count = 64
    """Channels of the nodes."""
    mixer: MixerChoice | None = None
    """A registered mixer and its fields, for the networks that scan; None is Graph-Mamba's
    (mamba1 with d_state 16 and expand 1)."""
    network: Network = GraphMamba()
    """What stands between encoder and head, with its own fields."""
    encoding: Encoding | None = None
    """Added to the node features; None adds nothing."""
    draws: Count = 1
    """Outputs to average, in eval mode, where the order is drawn; seeded and repeatable."""
    feature_dropout: Rate = 0.0
    """On the features themselves, before the encoder: for bags of words and few answers."""
    dropout: Rate = 0.0
    """On the encoded features and before the head."""

    @model_validator(mode="after")
    def _degrees_are_columns(self) -> GraphConfig:
        if self.degrees and self.categories:
            raise ValueError("degrees are columns of 0 and 1, no categories: leave one of them out")
        return self

    @model_validator(mode="after")
    def _mixer_is_used(self) -> GraphConfig:
        if self.mixer is not None and self.network.kind not in SCANS:
            raise ValueError(
                f"network {self.network.kind!r} does not use mixer: leave it out, or choose one of "
                f"{', '.join(SCANS)}"
            )
        return self

    @property
    def scan_mixer(self) -> MixerChoice:
        """The mixer of a network that scans."""
        return self.mixer or MixerChoice("mamba1", d_state=16, expand=1)
