"""Typed configs of ``rec-next``: the model and its networks, the data, training and use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_core.training.config import TrainConfig

Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mamba4Rec:
    """Post-norm mixers with a feed-forward part (Liu et al., 2403.03900)."""

    kind: Literal["mamba4rec"] = "mamba4rec"
    layers: Count = 1
    """A single layer has no residual around its mixer, as published."""
    dropout: Share = 0.2
    """After the embedding, the mixers and the feed-forward parts."""
    init: Literal["protected", "published"] = "protected"
    """``published`` draws every Linear from N(0, 0.02) with bias 0, the dt bias inside the mixer
    included, which loses its time scales; ``protected`` leaves the mixers as the core made them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreNorm:
    """Pre-norm mixers with residuals and no MLP, as Mamba itself (Gu and Dao, 2312.00752)."""

    kind: Literal["prenorm"] = "prenorm"
    layers: Count = 1
    """Mixers, one upon the other."""
    dropout: Share = 0.2
    """After the embedding."""
    mixer_dropout: Share = 0.1
    """After the mixers; much of it keeps them from taking back what the residual says again,
    the item just read first of all."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Stack:
    """The core's pre-norm stack of causal mixers."""

    kind: Literal["stack"] = "stack"
    depth: Count = 2
    """How often the pattern is repeated."""
    pattern: str = "M-"
    """Layers by letter: M mixer, * attention, - MLP."""
    dropout: Share = 0.2
    """After the embedding and before the scores."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TiM4Rec:
    """Mamba-2 whose steps follow the time between events (after Fan et al., 2409.16182)."""

    kind: Literal["tim4rec"] = "tim4rec"
    layers: Count = 2
    """Mixers, each with an MLP behind it."""
    unit: Annotated[float, Field(gt=0)] = 3600.0
    """Seconds below which pauses count as short."""
    dropout: Share = 0.2
    """After the embedding, the mixers and the MLPs."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SASRec:
    """Causal attention with learned positions (Kang and McAuley, 1808.09781)."""

    kind: Literal["sasrec"] = "sasrec"
    layers: Count = 2
    """Blocks of attention and a feed-forward part."""
    num_heads: Count = 1
    """Of the attention."""
    max_length: Count = 200
    """Longest window; older events are forgotten."""
    dropout: Share = 0.2
    """After the embedding, in the attention and in the feed-forward parts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GRU4Rec:
    """A gated recurrent unit (Hidasi et al., 1511.06939)."""

    kind: Literal["gru4rec"] = "gru4rec"
    layers: Count = 1
    """Units, one upon the other."""
    d_hidden: Count = 128
    """Width of the state."""
    dropout: Share = 0.2
    """After the embedding and between the units."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HSTU:
    """Pointwise SiLU attention with relative positions (Zhai et al., 2402.17152)."""

    kind: Literal["hstu"] = "hstu"
    layers: Count = 2
    """Blocks."""
    num_heads: Count = 2
    """Of the attention."""
    max_length: Count = 200
    """Longest window; older events are forgotten."""
    dropout: Share = 0.2
    """After the embedding and on each block's output."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SIGMA:
    """One mixer forward and on a partly flipped history, and a GRU (after Liu et al., 2408.11451).

    Needs ``data.prefixes``: what it says means something behind the last event only.
    """

    kind: Literal["sigma"] = "sigma"
    layers: Count = 1
    """How often the three are mixed."""
    keep: Count = 5
    """Last events that are not flipped."""
    max_length: Count = 50
    """Longest window; older events are forgotten."""
    dropout: Share = 0.2
    """After the embedding and in every layer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EchoMamba:
    """A filter over frequencies and a mixer in each direction (after Wang et al., 2406.02638).

    Needs ``data.prefixes``: what it says means something behind the last event only.
    """

    kind: Literal["echomamba"] = "echomamba"
    layers: Annotated[int, Field(ge=2)] = 2
    """How often filter, mixers and gate follow each other. In a single layer the way back would be
    for nothing: at the last event, which is scored, it has read that event only."""
    frequencies: Annotated[int, Field(ge=2)] = 26
    """Frequencies at which the filter is learnt; between them it is a line."""
    max_length: Count = 50
    """Longest window; older events are forgotten."""
    dropout: Share = 0.2
    """After the embedding and in every layer."""


Network = Annotated[
    Mamba4Rec | PreNorm | Stack | TiM4Rec | SASRec | GRU4Rec | HSTU | SIGMA | EchoMamba,
    Field(discriminator="kind"),
]
"""One of the networks, told apart by ``kind``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Features:
    """Columns of items or events that enter the embedding."""

    categories: tuple[Count, ...] = ()
    """Number of values of each categorical column; 0 is kept for a value that was never seen."""
    numbers: Size = 0
    """Numeric columns, those of embeddings included."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NextItemConfig:
    """Everything the model is built from."""

    items: Count = 1000
    """Size of the catalogue."""
    d_model: Count = 64
    """Width of an item's vector."""
    mixer: MixerChoice = MixerChoice("mamba1", d_state=32)
    """A registered causal mixer and its fields; not used by ``sasrec``, ``gru4rec``, ``hstu``."""
    network: Network = Mamba4Rec()
    """Which network, and its sizes."""
    registers: Size = 0
    """Learned tokens in front of every history (SSD4Rec, 2409.01192): an empty history then has
    a state of its own."""
    temperature: Annotated[float, Field(gt=0)] | None = None
    """Scores are cosines over this, as in HSTU; None takes inner products."""
    item_features: Features = Features()
    """Columns of the items; they add to the items' vectors, before the network and in the
    scores."""
    event_features: Features = Features()
    """Columns of the events; they add to what the network reads."""
    id_dropout: Share = 0.0
    """Share of items per batch whose vector is made of their columns only while training, so
    that the columns learn to stand for items that were never seen."""

    @model_validator(mode="after")
    def _columns_carry_ids(self) -> NextItemConfig:
        if self.id_dropout and not (self.item_features.categories or self.item_features.numbers):
            raise ValueError(
                f"id_dropout = {self.id_dropout:g} leaves items without any vector: give "
                "item_features, or 0"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullSoftmax:
    """Cross-entropy over all items, in chunks of positions."""

    kind: Literal["full"] = "full"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SampledSoftmax:
    """Cross-entropy over the target and drawn items, corrected for how often each is drawn."""

    kind: Literal["sampled"] = "sampled"
    negatives: Count = 128
    """Items drawn per history; those of a batch are shared by all of its positions."""
    power: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Items are drawn by their counts to this power: 0 is uniform, 1 by popularity."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Binary:
    """Binary cross-entropy of the target and of items drawn for each position alone.

    With ``calibration`` t above 0 it is gBCE (Petrov and Macdonald, 2308.07192), which undoes
    the overconfidence that few negatives bring.
    """

    kind: Literal["binary"] = "binary"
    negatives: Count = 1
    """Items drawn per position, uniformly."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.0
    """t of gBCE: 0 is plain binary cross-entropy, 1 fully calibrated."""


Objective = Annotated[FullSoftmax | SampledSoftmax | Binary, Field(discriminator="kind")]
"""What is minimised, told apart by ``kind``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NextItemData:
    """Interactions in a file, and how they are cut."""

    path: Path
    """A .csv or .parquet table, RecBole's .inter, a MovieLens file or folder, sequences in .txt
    (``user item item ...``) or .npz (``items``, ``offsets``)."""
    user: str = "user_id"
    """Column with the user, of a table."""
    item: str = "item_id"
    """Column with the item, of a table."""
    time: str = "timestamp"
    """Column with the time, of a table; rows of equal times keep their order."""
    min_item_events: Size = 0
    """Items with fewer events are left out, before users are counted."""
    min_user_events: Annotated[int, Field(ge=3)] = 3
    """Users with fewer events are left out; three are needed to hold two out."""
    split: Literal["leave_one_out", "temporal"] = "leave_one_out"
    """``leave_one_out``: of each user the last event is the test, the one before it validation.
    ``temporal``: events after two moments in time, the same for all users."""
    val_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Part of the events, by time, for validation of ``temporal``."""
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Part of the events, the last ones, for the test of ``temporal``."""
    max_length: Annotated[int, Field(ge=2)] | None = 200
    """Events a model reads: longer histories are cut into pieces to train on, at other places in
    every epoch, and only the last events are read to predict. None reads all."""
    prefixes: Count | None = None
    """Train on so many prefixes of each history per epoch, drawn at random, with one target each;
    None trains on all positions at once, which causal networks allow."""
    objective: Objective = FullSoftmax()
    """What is minimised."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NextItemTrain(TrainConfig):
    """Training with defaults for packed histories."""

    batch_size: Count = 16
    """Histories per process and forward pass."""
    max_epochs: Count = 30
    """Passes through the histories; not used when max_steps is given."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """None, as published."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Off; validation chooses among the raw weights."""
    patience: Count | None = 10
    """Stop after so many validations without a better score."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NextItemPredict:
    """How files of histories are answered."""

    catalogue: Path | None = None
    """The file the model was trained on, or any other with the same items: names the items by
    which the model knows its numbers. None: items are numbered already."""
    k: Count = 10
    """Items per user."""
    filter_seen: bool = True
    """Leave out what the user had before."""
    max_length: Annotated[int, Field(ge=2)] | None = 200
    """Events that are read of each history, as in training; None reads all."""
    user: str = "user_id"
    """Column with the user."""
    item: str = "item_id"
    """Column with the item."""
    time: str = "timestamp"
    """Column with the time."""
    min_item_events: Size = 0
    """As in training, to number the same items."""
    batch_size: Count = 256
    """Users at once."""
