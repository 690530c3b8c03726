"""ResNet for 32x32 images (He et al., 1512.03385, section 4.2): the peer of a known size.

Three stages of basic blocks at 32, 16 and 8 pixels a side; where the map is halved the shortcut
takes every second pixel and adds zero channels (their option A). ``depth=3`` is ResNet-20.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.config import STRICT
from mamba_vision.backbones.base import ImageBackbone, Level, check_images


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResNetConfig:
    """The CIFAR ResNet."""

    kind: Literal["resnet"] = "resnet"
    """Which architecture this is."""
    width: Annotated[int, Field(ge=1)] = 16
    """Channels of the first stage; each further one has twice as many."""
    depth: Annotated[int, Field(ge=1)] = 3
    """Blocks of two convolutions per stage: 6 depth + 2 layers with weights in all."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut, ``(B, C, H, W) -> (B, out, H', W')``."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.stride, self.added = stride, out - channels
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Transform a map."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        short = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
        return F.relu(y + short)


class ResNet(ImageBackbone):
    """Images -> a map ``(B, 4 width, H/4, W/4)``; see :class:`ResNetConfig`."""

    def __init__(self, config: ResNetConfig, image_size: tuple[int, int], in_chans: int) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.conv = nn.Conv2d(in_chans, config.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(config.width)
        widths = [config.width, *(config.width * 2**stage for stage in range(3))]
        self.stages = nn.ModuleList(
            nn.Sequential(
                BasicBlock(widths[k], widths[k + 1], 2 if k else 1),
                *(BasicBlock(widths[k + 1], widths[k + 1], 1) for _ in range(config.depth - 1)),
            )
            for k in range(3)
        )
        self.num_features = widths[-1]
        self.levels = tuple(Level(widths[k + 1], 2**k, f"stages.{k}") for k in range(3))

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        check_images(images, self.in_chans, 1)
        x, maps = F.relu(self.norm(self.conv(images))), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return x, maps

    def pool(self, features: Tensor) -> Tensor:
        """The mean over the map."""
        return features.mean((2, 3))
