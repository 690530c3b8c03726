"""SPMamba (Li et al., 2404.02063): mix along frequency, then along time, on the spectrogram.

The skeleton is TF-GridNet's (Wang et al., 2209.03952) with mixers in place of its LSTMs.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_audio.separation.networks.base import Network, by_batch, flat_rows
from mamba_audio.separation.networks.norms import EPS, RunningLevel, make_norm
from mamba_core.blocks import Block, BlockConfig
from mamba_core.config import STRICT
from mamba_core.mixers import MixerState, build_mixer

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


_PAST = 2
"""Frames before the present one that a causal 3 x 3 convolution sees."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TimeFrequency:
    """SPMamba: mixers along both axes of the spectrogram, whose frames are the separator's."""

    kind: Literal["time_frequency"] = "time_frequency"
    """Which network this is."""
    channels: Annotated[int, Field(ge=1)] = 16
    """Of every bin of the spectrogram."""
    depth: Annotated[int, Field(ge=1)] = 6
    """Layers, each along frequency, along time, and attention."""
    window: Annotated[int, Field(ge=1)] = 8
    """Neighbours that make one token: the mixers' width is channels times window."""
    hop: Annotated[int, Field(ge=1)] = 1
    """From token to token."""
    heads: Annotated[int, Field(ge=0)] = 4
    """Of the attention over whole frames, whose cost grows with the square of the length; 0
    leaves it out, which makes the network linear."""
    query: Annotated[int, Field(ge=1)] = 512
    """Size of a head's queries, nearly: a whole number per bin."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> TimeFrequency:
        if self.hop > self.window:
            raise ValueError(f"hop = {self.hop} must not exceed window = {self.window}")
        if self.heads and self.channels % self.heads:
            raise ValueError(f"heads = {self.heads} must divide channels = {self.channels}")
        return self


class TimeFrequencyNetwork(Network):
    """Maps the mixture's spectrogram to those of the sources, without masks."""

    def __init__(self, network: TimeFrequency, config: SeparatorConfig) -> None:
        super().__init__(network, config)
        c = network.channels
        self.network, self.sources, self.causal = network, config.sources, config.causal
        self.bins = config.kernel_size // 2 + 1
        self.level = RunningLevel()
        self.widen = nn.Conv2d(2, c, 3)
        self.norm = make_norm(c, causal=config.causal)
        self.layers = nn.ModuleList(_Layer(network, config) for _ in range(network.depth))
        self.narrow = nn.Conv2d(c, 2 * config.sources, 3)

    def forward(self, frames: Tensor) -> Tensor:
        """``(B, 2, bins, frames) -> (B, sources, 2, bins, frames)``.

        A causal network scales by the level so far, where the separator cannot.
        """
        if not self.causal:
            return self._spectra(frames)
        level = self.level(frames)
        return self._spectra(frames / (level + EPS)) * level[:, None]

    def _spectra(self, frames: Tensor) -> Tensor:
        x = self.norm(self.widen(self._padded(frames.transpose(2, 3))))
        for layer in self.layers:
            x = layer(x)
        return self._by_source(self.narrow(self._padded(x)))

    def _by_source(self, x: Tensor) -> Tensor:
        return x.transpose(2, 3).unflatten(1, (self.sources, 2))

    def _padded(self, x: Tensor) -> Tensor:
        """Zeros around ``(B, C, frames, bins)``; in a causal network none behind in time."""
        return F.pad(x, (1, 1, _PAST, 0) if self.causal else (1, 1, 1, 1))

    def init_state(self, batch_size: int) -> MixerState:
        """See :meth:`Network.init_state`."""
        if self.network.heads or self.network.hop > 1:
            raise TypeError(
                "TimeFrequencyNetwork cannot stream with attention, which looks at all frames so "
                "far, or with a hop: build it with heads=0 and hop=1"
            )
        like = self.widen.weight
        past = {
            name: like.new_zeros(batch_size, conv.in_channels, _PAST, self.bins)
            for name, conv in (("widen", self.widen), ("narrow", self.narrow))
        }
        children = (
            self.level.init_state(batch_size, like.device),
            self.norm.init_state(batch_size),  # type: ignore[operator]
            *(layer.init_state(batch_size) for layer in self.layers),  # type: ignore[operator]
        )
        return MixerState(past, children)

    def prefill(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`Network.prefill`."""
        level_state, norm_state, *layers = state.children
        level, level_state = self.level.prefill(frames, level_state)
        scaled = (frames / (level + EPS)).transpose(2, 3)
        x, widen = _continued(self.widen, scaled, state.tensors["widen"])
        x, norm_state = self.norm.prefill(x, norm_state)  # type: ignore[operator]
        after = [level_state, norm_state]
        for layer, child in zip(self.layers, layers, strict=True):
            x, child = layer.prefill(x, child)  # type: ignore[operator]
            after.append(child)
        x, narrow = _continued(self.narrow, x, state.tensors["narrow"])
        past = {"widen": widen, "narrow": narrow}
        return self._by_source(x) * level[:, None], MixerState(past, tuple(after))


def _continued(conv: nn.Module, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Convolve frames that come after ``past``; also return the last frames, for the next call."""
    x = torch.cat([past, x], dim=2)
    return conv(F.pad(x, (1, 1))), x[:, :, -_PAST:]


class _Layer(nn.Module):
    """``(B, channels, frames, bins)``: along frequency, along time, attention, all residual."""

    def __init__(self, network: TimeFrequency, config: SeparatorConfig) -> None:
        super().__init__()
        self.bins = config.kernel_size // 2 + 1
        self.along_bins = _Axis(network, config, causal=False)
        self.along_frames = _Axis(network, config, causal=config.causal)
        self.attention = _Attention(network, self.bins, config.causal) if network.heads else None

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.along_bins(x)
        x = x + self.along_frames(x.transpose(2, 3)).transpose(2, 3)
        return x if self.attention is None else x + self.attention(x)

    def init_state(self, batch_size: int) -> MixerState:
        return self.along_frames.init_state(batch_size, self.bins)

    def prefill(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """:meth:`forward` without attention, for frames that continue others."""
        x = x + self.along_bins(x)
        y, state = self.along_frames.prefill(x.transpose(2, 3), state)
        return x + y.transpose(2, 3), state


class _Axis(nn.Module):
    """Mix along the last axis; the rows of the other are sequences of their own.

    A token holds ``window`` neighbours, and gives something to all of them.
    """

    def __init__(self, network: TimeFrequency, config: SeparatorConfig, *, causal: bool) -> None:
        super().__init__()
        self.window, self.hop, self.causal = network.window, network.hop, causal
        d = network.channels * network.window
        self.norm = nn.LayerNorm(network.channels)
        directions = 1 if causal else 2
        self.readers = nn.ModuleList(
            Block(d, [build_mixer(config.mixer, d)], BlockConfig()) for _ in range(directions)
        )
        self.back = nn.ConvTranspose1d(
            directions * d, network.channels, network.window, stride=network.hop
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, rows, steps)``."""
        batch, _, _, steps = x.shape
        x = self._rows(x)
        before = self.window - 1 if self.causal else 0  # a causal token ends with its step
        short = max(self.window - steps - before, 0)
        rest = short + -(steps + before + short - self.window) % self.hop
        tokens = self._tokens(F.pad(x, (before, rest)))
        read = [self.readers[0](tokens)]
        if not self.causal:
            read.append(self.readers[1](tokens.flip(1)).flip(1))
        y = self.back(torch.cat(read, dim=-1).transpose(1, 2))[..., :steps]
        return y.unflatten(0, (batch, -1)).transpose(1, 2)

    def _rows(self, x: Tensor) -> Tensor:
        """``(B, C, rows, steps) -> (B rows, C, steps)``, normed."""
        return self.norm(x.permute(0, 2, 3, 1)).transpose(2, 3).flatten(0, 1)

    def _tokens(self, x: Tensor) -> Tensor:
        """``(rows, C, steps) -> (rows, tokens, C window)``."""
        return x.unfold(-1, self.window, self.hop).transpose(1, 2).flatten(2)

    def init_state(self, batch_size: int, rows: int) -> MixerState:
        """Return the last steps read, and what later steps have got already."""
        shape = (batch_size, rows, self.norm.normalized_shape[0], self.window - 1)
        past = {name: self.norm.weight.new_zeros(shape) for name in ("read", "given")}
        reader = self.readers[0].init_state(batch_size * rows)  # type: ignore[operator]
        return MixerState(past, (by_batch(reader, batch_size),))

    def prefill(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """:meth:`forward` of a causal axis with ``hop`` 1, for steps that continue others."""
        batch, _, _, steps = x.shape
        held = flat_rows(MixerState(state.tensors)).tensors
        x = torch.cat([held["read"], self._rows(x)], dim=-1)
        (reader,) = state.children
        y, reader = self.readers[0].prefill(self._tokens(x), flat_rows(reader))  # type: ignore[operator]
        y = F.conv_transpose1d(y.transpose(1, 2), self.back.weight)
        y = y + F.pad(held["given"], (0, steps))
        past = MixerState({"read": x[..., steps:], "given": y[..., steps:]}, (reader,))
        assert self.back.bias is not None
        y = y[..., :steps] + self.back.bias[:, None]
        return y.unflatten(0, (batch, -1)).transpose(1, 2), by_batch(past, batch)


class _Attention(nn.Module):
    """Every frame, with all its bins, looks at every other frame."""

    def __init__(self, network: TimeFrequency, bins: int, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        c, heads, per_bin = network.channels, network.heads, ceil(network.query / bins)
        self.query = _HeadProjection(c, heads, per_bin, bins)
        self.key = _HeadProjection(c, heads, per_bin, bins)
        self.value = _HeadProjection(c, heads, c // heads, bins)
        self.out = _HeadProjection(c, 1, c, bins)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, frames, bins)``."""
        q, k, v = (
            project(x).transpose(2, 3).flatten(3)  # (B, heads, frames, channels bins)
            for project in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        y = y.unflatten(-1, (-1, x.shape[-1])).transpose(2, 3).flatten(1, 2)
        return self.out(y)[:, 0]


class _HeadProjection(nn.Module):
    """``1 x 1 -> PReLU -> norm``, the last two for every head; the norm is that of a frame."""

    def __init__(self, channels: int, heads: int, width: int, bins: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Conv2d(channels, heads * width, 1)
        self.slope = nn.Parameter(torch.full((heads, 1, 1, 1), 0.25))
        self.weight = nn.Parameter(torch.ones(heads, width, 1, bins))
        self.bias = nn.Parameter(torch.zeros(heads, width, 1, bins))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels, frames, bins) -> (B, heads, width, frames, bins)``."""
        y = self.project(x).unflatten(1, (self.heads, -1))
        y = torch.where(y > 0, y, self.slope * y)
        y = y - y.mean((2, 4), keepdim=True)
        scale = (y.square().mean((2, 4), keepdim=True) + EPS).rsqrt()
        return y * scale * self.weight + self.bias
