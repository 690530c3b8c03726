"""Hierarchies of four stages at strides 4, 8, 16, 32 (VMamba, Liu et al., 2401.10166).

Each layer is ``x + mixer(norm x)`` and, except in the vanilla models, ``x + MLP(norm x)``; the
channels double where the map is halved. Any image size goes through; there are no positions.
VSSD and Mamba2D are hierarchies of the same kind with other mixers.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.blocks import BlockConfig
from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_vision.backbones.base import ImageBackbone, Level, check_images
from mamba_vision.backbones.mixing import GridStack, Mixing, drop_rates, start_residuals
from mamba_vision.backbones.parts import (
    EPS,
    LayerNorm2d,
    PatchMerging,
    PatchStem,
    conv_down,
    conv_stem,
    to_map,
    to_tokens,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VMambaConfig:
    """Stages of mixers over maps that shrink."""

    kind: Literal["vmamba"] = "vmamba"
    """Which architecture this is."""
    depths: tuple[Annotated[int, Field(ge=1)], ...] = (2, 2, 8, 2)
    """Layers of each stage."""
    width: Annotated[int, Field(ge=2)] = 96
    """Channels of the first stage; each further one has twice as many."""
    mixing: Mixing = Mixing(
        mixer=MixerChoice("ss2d", expand=1), scan_order="cross", merge="sum", share="none"
    )
    """Mixer and scan order of every stage."""
    last_mixing: Mixing | None = None
    """Those of the last stage, where they are others (VSSD has attention there)."""
    mlp_ratio: Annotated[float, Field(ge=0)] = 4.0
    """Hidden channels of the MLPs per channel; 0 has none."""
    stem: Literal["patch", "conv", "small"] = "conv"
    """``patch``: one 4x4 convolution (v1); ``conv``: two 3x3 of stride 2 (v2); ``small``: one 3x3
    of stride 2, so that all strides are halved, for small images."""
    down: Literal["merge", "conv"] = "conv"
    """Between stages: 2x2 neighbours joined (v1), or a 3x3 convolution of stride 2 (v3)."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Highest rate of stochastic depth, reached by the last layer."""

    @model_validator(mode="after")
    def _even(self) -> VMambaConfig:
        if self.width % 2:
            raise ValueError(f"width = {self.width} must be even: the stem halves it")
        return self

    def mixings(self) -> tuple[str, ...]:
        """Names of the fields that say how tokens are mixed."""
        return ("mixing",) if self.last_mixing is None else ("mixing", "last_mixing")


class Stage(nn.Module):
    """Layers over one map, then the way to the next stage."""

    def __init__(self, layers: GridStack, downsample: nn.Module) -> None:
        super().__init__()
        self.layers, self.downsample = layers, downsample

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, C, H, W)`` -> the same shape, and what the next stage takes."""
        shape = (grid.shape[2], grid.shape[3])
        grid = to_map(self.layers(to_tokens(grid), shape), shape)
        return grid, self.downsample(grid)


class VMamba(ImageBackbone):
    """Images -> maps; see :class:`VMambaConfig`. Features are a map ``(B, 8 width, h, w)``."""

    def __init__(self, config: VMambaConfig, image_size: tuple[int, int], in_chans: int) -> None:
        super().__init__()
        self.config, self.in_chans = config, in_chans
        widths = [config.width * 2**stage for stage in range(len(config.depths))]
        stride = 2 if config.stem == "small" else 4
        self.stem = _stem(config, in_chans)
        rates = drop_rates(config.drop_path, sum(config.depths))
        self.stages = nn.ModuleList()
        for index, (depth, width) in enumerate(zip(config.depths, widths, strict=True)):
            last = index == len(widths) - 1
            mixing = (config.last_mixing if last else None) or config.mixing
            layers = GridStack(
                width,
                mixing,
                [rates.pop(0) for _ in range(depth)],
                block=BlockConfig(norm="layer", norm_eps=EPS),
                mlp_ratio=config.mlp_ratio,
            )
            self.stages.append(Stage(layers, nn.Identity() if last else _down(config, width)))
        self.norm = LayerNorm2d(widths[-1])
        self.num_features = widths[-1]
        self.levels = tuple(
            Level(width, stride * 2**index, f"stages.{index}.layers")
            for index, width in enumerate(widths)
        )
        start_residuals(self.stages, sum(config.depths) * (2 if config.mlp_ratio else 1))

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        check_images(images, self.in_chans, self.levels[0].stride)
        grid, maps = self.stem(images), []
        for stage in self.stages:
            level, grid = stage(grid)
            maps.append(level)
        return self.norm(maps[-1]), maps

    def head_parts(self) -> list[nn.Module]:
        """See :meth:`ImageBackbone.head_parts`."""
        return [self.norm]

    def pool(self, features: Tensor) -> Tensor:
        """The mean over the map."""
        return features.mean((2, 3))


def _stem(config: VMambaConfig, in_chans: int) -> nn.Module:
    if config.stem == "patch":
        return PatchStem(in_chans, config.width)
    if config.stem == "conv":
        return conv_stem(in_chans, config.width)
    return conv_down(in_chans, config.width)


def _down(config: VMambaConfig, width: int) -> nn.Module:
    return PatchMerging(width) if config.down == "merge" else conv_down(width, 2 * width)
