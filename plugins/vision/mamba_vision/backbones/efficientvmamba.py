"""EfficientVMamba (Pei et al., 2403.09977), written from its description.

Four stages. In the first two a scan of every second row and column (each token read once, by one of
four paths) stands beside convolutions with squeeze and excitation, and both are added; the last
two, on small maps, are the inverted residuals of MobileNetV2 (1801.04381).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import SqueezeExcitation

from mamba_core.blocks import BlockConfig, DropPath
from mamba_core.config import STRICT
from mamba_core.mixers import GridMixer, MixerChoice
from mamba_core.mixers.grid import depthwise, over_grid
from mamba_vision.backbones.base import Level, StagedBackbone
from mamba_vision.backbones.mixing import GridStack, Mixing, drop_rates, start_residuals
from mamba_vision.backbones.parts import (
    EPS,
    LayerNorm2d,
    PatchMerging,
    conv_stem,
    to_map,
    to_tokens,
)

_STAGES = 4


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EfficientVMambaConfig:
    """Two stages of scans beside convolutions, then two of inverted residuals."""

    kind: Literal["efficientvmamba"] = "efficientvmamba"
    """Which architecture this is."""
    depths: tuple[int, int, int, int] = (2, 2, 4, 2)
    """Layers of each stage."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 48
    """Channels of the first stage, even; each further one has twice as many."""
    mixing: Mixing = Mixing(
        mixer=MixerChoice("ss2d", d_state=16, expand=2), scan_order="atrous", merge="scatter"
    )
    """Mixer and scan order of the first two stages."""
    expand: Annotated[float, Field(gt=0)] = 5.5
    """Hidden channels of the inverted residuals per channel."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Highest rate of stochastic depth, reached by the last layer."""

    def mixings(self) -> tuple[str, ...]:
        """Names of the fields that say how tokens are mixed."""
        return ("mixing",)


class ConvBranch(GridMixer):
    """What stands beside the scan: depth-wise 3x3, 1x1, squeeze and excitation; any grid."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            depthwise(d_model, 3, bias=False),
            nn.BatchNorm2d(d_model),
            nn.SiLU(),
            nn.Conv2d(d_model, d_model, 1, bias=False),
            nn.BatchNorm2d(d_model),
            nn.SiLU(),
            SqueezeExcitation(d_model, max(d_model // 4, 1)),
        )

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        return over_grid(self.convs, x, shape)


class ScanStage(nn.Module):
    """Layers of a mixer beside convolutions, ``(B, C, H, W)`` -> the same shape."""

    def __init__(self, width: int, mixing: Mixing, rates: list[float]) -> None:
        super().__init__()
        block = BlockConfig(norm="layer", norm_eps=EPS)
        self.layers = GridStack(width, mixing, rates, block=block, beside=ConvBranch)

    def forward(self, grid: Tensor) -> Tensor:
        """Mix one map."""
        shape = (grid.shape[2], grid.shape[3])
        return to_map(self.layers(to_tokens(grid), shape), shape)


class ConvStage(nn.Module):
    """Inverted residuals, ``(B, C, H, W)`` -> the same shape."""

    def __init__(self, width: int, expand: float, rates: list[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            InvertedResidual(width, width, 1, expand, norm_layer=nn.BatchNorm2d) for _ in rates
        )
        self.drop_paths = nn.ModuleList(DropPath(rate) for rate in rates)
        self.gradient_checkpointing = False

    def forward(self, grid: Tensor) -> Tensor:
        """Convolve one map."""
        for block, drop_path in zip(self.blocks, self.drop_paths, strict=True):
            # what a block adds, without its own sum, so that the whole of it can be dropped
            added: Any = block.conv
            if self.gradient_checkpointing and torch.is_grad_enabled():
                grid = grid + drop_path(checkpoint(added, grid, use_reentrant=False))
            else:
                grid = grid + drop_path(added(grid))
        return grid


class EfficientVMamba(StagedBackbone):
    """Images -> maps; see :class:`EfficientVMambaConfig`. Features are ``(B, 8 width, h, w)``."""

    def __init__(
        self, config: EfficientVMambaConfig, image_size: tuple[int, int], in_chans: int
    ) -> None:
        super().__init__()
        self.config, self.in_chans = config, in_chans
        widths = [config.width * 2**stage for stage in range(_STAGES)]
        self.stem = conv_stem(in_chans, config.width)
        rates = drop_rates(config.drop_path, sum(config.depths))
        self.stages, self.downs = nn.ModuleList(), nn.ModuleList()
        for index, (depth, width) in enumerate(zip(config.depths, widths, strict=True)):
            own = [rates.pop(0) for _ in range(depth)]
            self.stages.append(
                ScanStage(width, config.mixing, own)
                if index < 2
                else ConvStage(width, config.expand, own)
            )
            if index < _STAGES - 1:
                self.downs.append(PatchMerging(width))
        self.norm = LayerNorm2d(widths[-1])
        self.num_features = widths[-1]
        self.levels = tuple(Level(w, 4 * 2**k, f"stages.{k}") for k, w in enumerate(widths))
        start_residuals(self.stages, sum(config.depths))
