"""Typed configs of ``ts-forecast``: the networks, the model around them, data and use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_core.training.config import TrainConfig
from mamba_timeseries.frame import Fill
from mamba_timeseries.table import Count, TableColumns, TableData

Rate = Annotated[float, Field(ge=0, lt=1)]
Level = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SMamba:
    """A token per channel, read along a scan order of the channels (Wang et al., 2403.11144)."""

    kind: Literal["s_mamba"] = "s_mamba"
    """Which network this is."""
    d_model: Count = 256
    """Width of a token."""
    d_ff: Count = 256
    """Hidden width of the MLP after each scan."""
    depth: Count = 2
    """Layers."""
    dropout: Rate = 0.1
    """On tokens and in the MLPs."""
    scan_order: str = "bidirectional"
    """In which order channels are read; each path has a mixer of its own, outputs add up."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PatchDecoder:
    """A causal stack over patches of one channel; its state moves on with each observation."""

    kind: Literal["patch_decoder"] = "patch_decoder"
    """Which network this is."""
    patch: Count = 16
    """Observations per token."""
    d_model: Count = 128
    """Width of a token."""
    depth: Count = 3
    """Mixer layers, each followed by an MLP."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PatchEncoder:
    """A stack over the whole window's patches, each channel by itself or all channels mixed.

    With the mixer ``attention`` this has PatchTST's form (Nie et al., 2211.14730), with
    ``mamba-plus`` and ``bidirectional`` that of Bi-Mamba+ (Liang et al., 2404.15772).
    """

    kind: Literal["patch_encoder"] = "patch_encoder"
    """Which network this is."""
    patch: Count = 16
    """Values per token."""
    stride: Count = 8
    """Values from token to token; the window's end is repeated to fill the last one."""
    d_model: Count = 128
    """Width of a token."""
    d_ff: Count = 256
    """Hidden width of the MLPs."""
    depth: Count = 3
    """Mixer layers, each followed by an MLP."""
    dropout: Rate = 0.2
    """On the tokens."""
    scan_order: str | None = None
    """Order along the sequence; None reads by the mixer alone."""
    tokens: Literal["time", "channels", "correlation"] = "time"
    """What a sequence is: the patches of one channel, or the channels at one patch.
    ``correlation``: the latter where the training rows' channels are alike, which is found before
    training and kept with the weights."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CMamba:
    """Patches of each channel are scanned; channels mix through a pooled gate (2406.05316)."""

    kind: Literal["cmamba"] = "cmamba"
    """Which network this is."""
    patch: Count = 16
    """Values per token."""
    stride: Count = 8
    """Values from token to token."""
    d_model: Count = 128
    """Width of a token."""
    depth: Count = 2
    """Layers."""
    dropout: Rate = 0.1
    """Before the head."""
    reduction: Count = 2
    """The gate's hidden width is ``channels / reduction``."""
    mixup: Annotated[float, Field(ge=0)] = 1.0
    """Standard deviation of the share of another channel added in training; 0 adds none."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MambaTS:
    """Patches of all channels in one sequence, channel after channel (Cai et al., 2405.16440)."""

    kind: Literal["mamba_ts"] = "mamba_ts"
    """Which network this is."""
    patch: Count = 48
    """Values per token, without overlap."""
    d_model: Count = 128
    """Width of a token."""
    depth: Count = 4
    """Layers."""
    dropout: Rate = 0.2
    """On the tokens."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TimeMachine:
    """Four mixers at two widths of the window (Ahamed and Cheng, 2403.09898).

    Channels one by one, its published setting for few channels. Two of its four mixers then read
    sequences of length one, which makes gated MLPs of them; the other two read the projected
    window value by value.
    """

    kind: Literal["time_machine"] = "time_machine"
    """Which network this is."""
    n1: Count = 512
    """First width that the window is projected to."""
    n2: Count = 32
    """Second, smaller width."""
    dropout: Rate = 0.7
    """After each projection."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DLinear:
    """Trend by moving average and the rest, a linear map each (Zeng et al., 2205.13504)."""

    kind: Literal["dlinear"] = "dlinear"
    """Which network this is."""
    average: Annotated[int, Field(ge=1)] = 25
    """Width of the moving average, odd; edges are repeated."""

    @model_validator(mode="after")
    def _odd(self) -> DLinear:
        if self.average % 2 == 0:
            raise ValueError(f"average = {self.average} must be odd, or the trend is shifted")
        return self


Network = Annotated[
    SMamba | PatchDecoder | PatchEncoder | CMamba | MambaTS | TimeMachine | DLinear,
    Field(discriminator="kind"),
]
"""One of the networks, told apart by ``kind``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ForecastConfig:
    """Everything the model is built from."""

    input_size: Annotated[int, Field(ge=2)] = 96
    """Known steps that a forecast is made from (look-back)."""
    h: Count = 24
    """Steps to forecast."""
    channels: Count = 1
    """Series that are forecast together; 1 treats every series by itself."""
    columns: tuple[str, ...] = ()
    """Names of the channels in the order the model reads them; empty when it has one only."""
    covariates: Annotated[int, Field(ge=0)] = 0
    """Columns that are known ahead, such as prices or the calendar."""
    quantiles: tuple[Level, ...] = ()
    """Levels to forecast, rising, with 0.5 among them; empty forecasts the mean only."""
    norm: Literal["instance", "none", "running"] = "instance"
    """``instance``: the window's own mean and deviation, put back in the end. ``running``: those
    of all observations so far, which a stream can carry. ``none``: the data's scaling."""
    cycle: Annotated[int, Field(ge=0)] = 0
    """Steps of a cycle, 24 for the hours of a day: every series' mean cycle, found on its training
    rows, is taken off and put back (after CycleNet, 2409.18479). 0 takes none off."""
    linear: bool = False
    """Whether a linear map from the window, relative to its last value, stands beside the network.
    Training begins it as the ridge solution and the network as silent, so that the network learns
    what a linear map leaves."""
    mixer: MixerChoice = MixerChoice("mamba1", d_state=2, d_conv=2, expand=1)
    """A registered mixer and its fields, for every network but ``dlinear``."""
    network: Network = SMamba()
    """Which network, and its sizes."""

    @model_validator(mode="after")
    def _fits_together(self) -> ForecastConfig:
        levels = self.quantiles
        if levels and (list(levels) != sorted(set(levels)) or 0.5 not in levels):
            raise ValueError(f"quantiles = {levels} must rise and hold 0.5")
        if self.columns and len(set(self.columns)) != self.channels:
            raise ValueError(
                f"columns has {len(set(self.columns))} different names for channels = "
                f"{self.channels}"
            )
        if self.norm == "running" and not isinstance(self.network, PatchDecoder):
            raise ValueError("norm = 'running' needs network.kind = 'patch_decoder'")
        if self.linear and isinstance(self.network, DLinear):
            raise ValueError("linear = True needs a network that is not linear itself")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ForecastData(TableData):
    """A table in a file, its covariates and gaps."""

    known: tuple[str, ...] = ()
    """Columns that are known ahead."""
    fill: Fill = "error"
    """What is done about missing values and steps: an error, the last value, a line between the
    neighbours (which looks ahead inside a gap, never beyond its end), or left out of the model's
    input."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ForecastTrain(TrainConfig):
    """Training with defaults for small data."""

    batch_size: Count = 32
    """Windows per process and forward pass."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Highest learning rate of AdamW."""
    max_epochs: Count = 10
    """Passes through the training windows; not used when max_steps is given."""
    patience: Count | None = 3
    """Stop after so many validations without a better score."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ForecastPredict(TableColumns):
    """How files are forecast."""

    h: Count | None = None
    """Steps; None takes the model's. More are forecast step after step from forecasts."""
    known: tuple[str, ...] = ()
    """Columns that are known ahead; the file's last ``h`` rows of each series then hold these
    without a target."""
    fill: Fill = "error"
    """What is done about missing values and steps."""
