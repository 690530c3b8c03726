"""Conv-TasNet (Luo and Mesgarani, 1809.07454): dilated convolutions, the peer to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_audio.separation.networks.base import Masker
from mamba_audio.separation.networks.norms import make_norm
from mamba_core.config import STRICT
from mamba_core.mixers import MixerState

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ConvTasNet:
    """Conv-TasNet; the letters are those of its paper."""

    kind: Literal["conv_tasnet"] = "conv_tasnet"
    """Which network this is."""
    filters: Annotated[int, Field(ge=1)] = 512
    """N: channels of the learned encoder and decoder."""
    bottleneck: Annotated[int, Field(ge=1)] = 128
    """B: channels between the blocks, and of the skip connections."""
    hidden: Annotated[int, Field(ge=1)] = 512
    """H: channels inside a block."""
    kernel: Annotated[int, Field(ge=2)] = 3
    """P: frames that a block's convolution sees."""
    blocks: Annotated[int, Field(ge=1)] = 8
    """X: blocks per repeat; their dilations are 1, 2, 4, ..."""
    repeats: Annotated[int, Field(ge=1)] = 3
    """R."""


class ConvTasNetMasker(Masker):
    """``norm -> bottleneck -> blocks -> sum of their skips -> PReLU -> mask -> sigmoid``."""

    def __init__(self, network: ConvTasNet, config: SeparatorConfig) -> None:
        super().__init__(network, config)
        n, b = network.filters, network.bottleneck
        self.sources = config.sources
        self.norm = make_norm(n, causal=config.causal)
        self.bottleneck = nn.Conv1d(n, b, 1)
        self.blocks = nn.ModuleList(
            _Block(network, 2**x, causal=config.causal)
            for _ in range(network.repeats)
            for x in range(network.blocks)
        )
        # Nothing reads the last block's residual output. The published sizes and costs count
        # it, so it stays; frozen, because distributed training waits for every gradient.
        self.blocks[-1].residual.requires_grad_(False)  # type: ignore[union-attr]
        self.activation = nn.PReLU()
        self.mask = nn.Conv1d(b, config.sources * n, 1)

    def masks(self, frames: Tensor) -> Tensor:
        """See :meth:`Masker.masks`."""
        x = self.bottleneck(self.norm(frames))
        total = torch.zeros_like(x)
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return self._weights(total)

    def init_state(self, batch_size: int) -> MixerState:
        """See :meth:`Network.init_state`."""
        parts = [self.norm, *self.blocks]
        return MixerState(children=tuple(part.init_state(batch_size) for part in parts))  # type: ignore[operator]

    def prefill(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`Network.prefill`."""
        first, *others = state.children
        x, first = self.norm.prefill(frames, first)  # type: ignore[operator]
        x = self.bottleneck(x)
        total, after = torch.zeros_like(x), [first]
        for block, child in zip(self.blocks, others, strict=True):
            x, skip, child = block.prefill(x, child)  # type: ignore[operator]
            total = total + skip
            after.append(child)
        return self._weights(total) * frames[:, None], MixerState(children=tuple(after))

    def _weights(self, total: Tensor) -> Tensor:
        masks = torch.sigmoid(self.mask(self.activation(total)))
        return masks.unflatten(1, (self.sources, -1))


class _Block(nn.Module):
    """Widen, convolve each channel in time, narrow twice: into the stream and into the skips."""

    def __init__(self, network: ConvTasNet, dilation: int, *, causal: bool) -> None:
        super().__init__()
        b, h = network.bottleneck, network.hidden
        self.past = (network.kernel - 1) * dilation
        """Frames before the present one, or around it, that the convolution sees."""
        self.causal = causal
        self.widen = nn.Conv1d(b, h, 1)
        self.activation_in = nn.PReLU()
        self.norm_in = make_norm(h, causal=causal)
        self.depthwise = nn.Conv1d(h, h, network.kernel, dilation=dilation, groups=h)
        self.activation_out = nn.PReLU()
        self.norm_out = make_norm(h, causal=causal)
        self.residual = nn.Conv1d(h, b, 1)
        self.skip = nn.Conv1d(h, b, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, bottleneck, frames)`` -> the stream and the skip, both of that shape."""
        before = self.past if self.causal else self.past // 2
        y = self.norm_in(self.activation_in(self.widen(x)))
        y = self.depthwise(F.pad(y, (before, self.past - before)))
        y = self.norm_out(self.activation_out(y))
        return x + self.residual(y), self.skip(y)

    def init_state(self, batch_size: int) -> MixerState:
        """Return the norms' states and the convolution's last inputs."""
        weight = self.depthwise.weight
        past = weight.new_zeros(batch_size, weight.shape[0], self.past)
        norms: list[Any] = [self.norm_in, self.norm_out]
        return MixerState({"past": past}, tuple(norm.init_state(batch_size) for norm in norms))

    def prefill(self, x: Tensor, state: MixerState) -> tuple[Tensor, Tensor, MixerState]:
        """:meth:`forward` for frames that continue others."""
        norm_in, norm_out = state.children
        y, norm_in = self.norm_in.prefill(self.activation_in(self.widen(x)), norm_in)  # type: ignore[operator]
        y = torch.cat([state.tensors["past"], y], dim=-1)
        past = y[..., y.shape[-1] - self.past :]
        y = self.activation_out(self.depthwise(y))
        y, norm_out = self.norm_out.prefill(y, norm_out)  # type: ignore[operator]
        after = MixerState({"past": past}, (norm_in, norm_out))
        return x + self.residual(y), self.skip(y), after
