"""A hybrid of convolutions, state space mixers and attention.

Written from the description of MambaVision (Hatamizadeh and Kautz, 2407.08083) only. Two
stages of convolutional residual blocks, then two whose first half are symmetric mixers and whose
second half is attention, inside windows. The mixer has no causal convolution: half of the channels
go through a convolution and a scan, half through a convolution alone, and both are joined.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.blocks import DropPath
from mamba_core.config import STRICT
from mamba_core.mixers import Mixer, initial
from mamba_core.mixers.selection import Selection
from mamba_kernels import ops
from mamba_vision.backbones.base import Level, StagedBackbone
from mamba_vision.backbones.mixing import drop_rates
from mamba_vision.backbones.parts import EPS, Mlp, to_map, to_tokens


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HybridConfig:
    """Stages of convolutions, then of mixers and attention in windows."""

    kind: Literal["hybrid"] = "hybrid"
    """Which architecture this is."""
    depths: tuple[int, int, int, int] = (1, 3, 8, 4)
    """Layers of each stage."""
    width: Annotated[int, Field(ge=1)] = 80
    """Channels of the first stage; each further one has twice as many."""
    stem_width: Annotated[int, Field(ge=1)] = 32
    """Channels between the two convolutions of the stem."""
    heads: tuple[int, int] = (8, 16)
    """Of the attention in the last two stages."""
    windows: tuple[int, int] = (14, 7)
    """Side of the windows in the last two stages, in tokens."""
    d_state: Annotated[int, Field(ge=1)] = 8
    """Numbers of state per channel of the mixers."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Highest rate of stochastic depth, reached by the last layer."""


class SymmetricMixer(initial.KeepsFloat32, Mixer):
    """Scan beside a convolution, ``(B, L, d_model)`` -> the same shape; reads both ways.

    :param d_state: N, numbers of state per channel.
    :param width: of the two convolutions over the tokens, odd.
    """

    causal = False

    def __init__(self, d_model: int, d_state: int = 8, width: int = 3) -> None:
        super().__init__()
        half = d_model // 2
        self.d_model = d_model
        self.in_proj = nn.Linear(d_model, d_model, bias=False)
        self.conv1d_x, self.conv1d_z = (
            nn.Conv1d(half, half, width, padding="same", groups=half, bias=False) for _ in "xz"
        )
        rank = math.ceil(d_model / 16)
        self.select = Selection(half, d_state, reads=True, dt_rank=rank)
        self.D = initial.protect(nn.Parameter(torch.ones(half)))
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def float32_parameters(self) -> list[nn.Parameter]:
        """D; the selection keeps its own."""
        return [self.D]

    def forward(self, x: Tensor, *, cu_seqlens: Tensor | None = None) -> Tensor:
        """See :meth:`Mixer.forward`."""
        if cu_seqlens is not None:
            raise ValueError("SymmetricMixer mixes windows of one size, not packed sequences")
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        u, z = F.silu(self.conv1d_x(u)), F.silu(self.conv1d_z(z))
        dt, b, c = self.select.choose(u.transpose(1, 2))
        y = ops.selective_scan(
            u,
            dt.transpose(1, 2),
            self.select.A,
            b.transpose(1, 2),
            c.transpose(1, 2),
            D=self.D,
            delta_bias=self.select.dt_proj.bias,
            delta_softplus=True,
        )
        assert isinstance(y, Tensor)
        return self.out_proj(torch.cat([y, z], dim=1).transpose(1, 2))


class BiasedAttention(nn.Module):
    """Softmax attention with biases, ``(B, L, d_model)`` -> the same shape."""

    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Mix whole sequences."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv)
        return self.proj(y.transpose(1, 2).flatten(2))


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm, GELU (tanh) between, around a residual."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm2d(width, eps=EPS) for _ in range(2))
        self.drop_path = DropPath(drop_path)

    def forward(self, grid: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape."""
        y = F.gelu(self.norm1(self.conv1(grid)), approximate="tanh")
        return grid + self.drop_path(self.norm2(self.conv2(y)))


class TokenBlock(nn.Module):
    """Pre-norm mixer, then an MLP, ``(B, L, C)`` -> the same shape."""

    def __init__(self, width: int, mixer: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=EPS) for _ in range(2))
        self.mixer, self.mlp = mixer, Mlp(width, 4 * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens of windows."""
        x = x + self.drop_path(self.mixer(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class WindowStage(nn.Module):
    """Token blocks inside windows of a map that is padded to whole ones.

    :param window: its side; a map that is smaller is one window.
    """

    def __init__(self, blocks: list[TokenBlock], window: int) -> None:
        super().__init__()
        self.blocks, self.window = nn.ModuleList(blocks), window

    def forward(self, grid: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape."""
        height, width = grid.shape[2:]
        rows, columns = min(self.window, height), min(self.window, width)
        padded = F.pad(grid, (0, -width % columns, 0, -height % rows))
        parts = padded.unflatten(3, (-1, columns)).unflatten(2, (-1, rows))
        parts = parts.permute(0, 2, 4, 1, 3, 5)  # (B, rows of windows, columns, C, h, w)
        x = to_tokens(parts.flatten(0, 2))
        for block in self.blocks:
            x = block(x)
        back = to_map(x, (rows, columns)).unflatten(0, parts.shape[:3]).permute(0, 3, 1, 4, 2, 5)
        return back.flatten(4, 5).flatten(2, 3)[:, :, :height, :width]


class Hybrid(StagedBackbone):
    """Images -> a map ``(B, 8 width, h, w)`` at stride 32; see :class:`HybridConfig`."""

    def __init__(self, config: HybridConfig, image_size: tuple[int, int], in_chans: int) -> None:
        super().__init__()
        self.in_chans = in_chans
        stem, width = config.stem_width, config.width
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, stem, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(stem, eps=1e-4),
            nn.ReLU(),
            nn.Conv2d(stem, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width, eps=1e-4),
            nn.ReLU(),
        )
        rates = drop_rates(config.drop_path, sum(config.depths))
        widths = [width * 2**stage for stage in range(4)]
        self.stages, self.downs = nn.ModuleList(), nn.ModuleList()
        for index, (depth, channels) in enumerate(zip(config.depths, widths, strict=True)):
            own = [rates.pop(0) for _ in range(depth)]
            self.stages.append(_stage(config, index, channels, own))
            if index < 3:
                down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
                self.downs.append(down)
        self.norm = nn.BatchNorm2d(widths[-1])
        self.num_features = widths[-1]
        self.levels = tuple(Level(w, 4 * 2**k, f"stages.{k}") for k, w in enumerate(widths))
        initial.zero_linear_biases(self)


def _stage(config: HybridConfig, index: int, width: int, rates: list[float]) -> nn.Module:
    if index < 2:
        return nn.Sequential(*(ConvBlock(width, rate) for rate in rates))
    first_attention = (len(rates) + 1) // 2
    blocks = [
        TokenBlock(
            width,
            SymmetricMixer(width, config.d_state)
            if layer < first_attention
            else BiasedAttention(width, config.heads[index - 2]),
            rate,
        )
        for layer, rate in enumerate(rates)
    ]
    return WindowStage(blocks, config.windows[index - 2])
