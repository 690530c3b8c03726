"""From the maps of a backbone to one map: UPerNet and U-Net, over any backbone here.

Norms are GroupNorm: an image's answer and gradient do not depend on what stands beside it, and a
batch of one can be trained on. A coarse map is brought to the size of a finer one bilinearly, so
maps of one stride (columns as Vim's) go through unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.config import STRICT
from mamba_core.registry import ConfigError
from mamba_vision.backbones import Level

Channels = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UPerNetConfig:
    """A pyramid pooling of the deepest map, then a feature pyramid (Xiao et al., 1807.10221)."""

    kind: Literal["upernet"] = "upernet"
    """Which decoder this is."""
    channels: Channels = 512
    """Of every map inside."""
    bins: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 3, 6)
    """Sides of the grids that the deepest map is averaged over."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UNetConfig:
    """Upwards level by level, joined with the backbone's maps (Ronneberger et al., 1505.04597)."""

    kind: Literal["unet"] = "unet"
    """Which decoder this is."""
    channels: tuple[Channels, ...] = (256, 128, 64)
    """After each step up, the deepest first: one less than the backbone has levels."""
    image_channels: Annotated[int, Field(ge=0)] = 32
    """Of a last step at the size of the image, joined with convolutions of the image itself; 0
    has none, and logits are enlarged from the finest map."""


DecoderConfig = Annotated[UPerNetConfig | UNetConfig, Field(discriminator="kind")]
"""The config of a decoder; ``kind`` says which."""


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size, GroupNorm (groups of about 8 channels), ReLU."""

    def __init__(self, channels: int, out: int, kernel: int = 3) -> None:
        groups = math.gcd(out, max(out // 8, 1))
        super().__init__(
            nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False),
            nn.GroupNorm(groups, out),
            nn.ReLU(),
        )


def resized(x: Tensor, like: Tensor) -> Tensor:
    """``x`` bilinearly at the height and width of ``like``, both ``(B, C, H, W)``."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


class UPerNet(nn.Module):
    """Maps -> one ``(B, out_channels, h, w)`` at the finest map's size; see
    :class:`UPerNetConfig`."""

    def __init__(self, config: UPerNetConfig, levels: Sequence[Level], in_chans: int) -> None:
        super().__init__()
        inner = self.out_channels = config.channels
        *finer, deepest = (level.channels for level in levels)
        self.bins = config.bins
        self.pooled = nn.ModuleList(ConvNorm(deepest, inner, 1) for _ in config.bins)
        self.join = ConvNorm(deepest + inner * len(config.bins), inner)
        self.lateral = nn.ModuleList(ConvNorm(channels, inner, 1) for channels in finer)
        self.smooth = nn.ModuleList(ConvNorm(inner, inner) for _ in finer)
        self.fuse = ConvNorm(inner * len(levels), inner)

    def forward(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Decode maps, shallow first; the images are not used."""
        *finer, deepest = maps
        pooled = [
            resized(conv(F.adaptive_avg_pool2d(deepest, side)), deepest)
            for side, conv in zip(self.bins, self.pooled, strict=True)
        ]
        x = self.join(torch.cat([deepest, *pooled], dim=1))
        found = [x]
        for grid, lateral, smooth in zip(
            reversed(finer), reversed(self.lateral), reversed(self.smooth), strict=True
        ):
            own = lateral(grid)
            x = own + resized(x, own)
            found.append(smooth(x))
        return self.fuse(torch.cat([resized(each, found[-1]) for each in found], dim=1))


class UNet(nn.Module):
    """Maps -> one ``(B, out_channels, H, W)``, of the image's size where ``image_channels`` is
    set, else of the finest map's; see :class:`UNetConfig`."""

    def __init__(self, config: UNetConfig, levels: Sequence[Level], in_chans: int) -> None:
        super().__init__()
        if len(config.channels) != len(levels) - 1:
            raise ConfigError(
                f"decoder.channels = {config.channels}: this backbone has {len(levels)} levels, so "
                f"give {len(levels) - 1} numbers, one per step up"
            )
        *finer, below = (level.channels for level in levels)
        self.steps = nn.ModuleList()
        for skip, out in zip(reversed(finer), config.channels, strict=True):
            self.steps.append(_double(below + skip, out))
            below = out
        self.image: nn.Module | None = None
        if config.image_channels:
            self.image = _double(in_chans, config.image_channels)
            self.last = _double(below + config.image_channels, config.image_channels)
        self.out_channels = config.image_channels or below

    def forward(self, images: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Decode maps, shallow first."""
        *finer, x = maps
        for skip, step in zip(reversed(finer), self.steps, strict=True):
            x = step(torch.cat([resized(x, skip), skip], dim=1))
        if self.image is None:
            return x
        return self.last(torch.cat([resized(x, images), self.image(images)], dim=1))


def _double(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(channels, out), ConvNorm(out, out))


def build_decoder(config: DecoderConfig, levels: Sequence[Level], in_chans: int) -> UPerNet | UNet:
    """Build the decoder of a config.

    :param levels: of the backbone, shallow first.
    :param in_chans: channels of the images.
    :raises ConfigError: for a U-Net with another number of steps than the levels ask for.
    """
    if isinstance(config, UPerNetConfig):
        return UPerNet(config, levels, in_chans)
    return UNet(config, levels, in_chans)
