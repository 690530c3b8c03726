"""The contracting path of U-Net (Ronneberger et al., 1505.04597): the peer for segmentation.

Two 3x3 convolutions per level, each with BatchNorm and ReLU, and a max-pooling between levels.
Convolutions are padded and normed, unlike in 2015. With the ``unet`` decoder it is a U-Net.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.config import STRICT
from mamba_vision.backbones.base import ImageBackbone, Level, check_images
from mamba_vision.backbones.parts import pad_to


@dataclass(frozen=True, kw_only=True, config=STRICT)
class UNetEncoderConfig:
    """The contracting path of U-Net."""

    kind: Literal["unet"] = "unet"
    """Which architecture this is."""
    width: Annotated[int, Field(ge=1)] = 64
    """Channels of the first level; each further one has twice as many."""
    depth: Annotated[int, Field(ge=1)] = 5
    """Levels, at strides 1, 2, 4, ..."""


class UNetEncoder(ImageBackbone):
    """Images -> a map at the last level's stride; see :class:`UNetEncoderConfig`."""

    def __init__(
        self, config: UNetEncoderConfig, image_size: tuple[int, int], in_chans: int
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        widths = [in_chans, *(config.width * 2**level for level in range(config.depth))]
        self.stages = nn.ModuleList(
            nn.Sequential(
                *_conv_norm(widths[level], widths[level + 1]),
                *_conv_norm(widths[level + 1], widths[level + 1]),
            )
            for level in range(config.depth)
        )
        self.num_features = widths[-1]
        self.levels = tuple(
            Level(widths[level + 1], 2**level, f"stages.{level}") for level in range(config.depth)
        )

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`; an odd side is padded before it is halved."""
        check_images(images, self.in_chans, 1)
        x, maps = images, []
        for level, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(pad_to(x, 2, 2), 2) if level else x)
            maps.append(x)
        return x, maps

    def pool(self, features: Tensor) -> Tensor:
        """The mean over the map."""
        return features.mean((2, 3))


def _conv_norm(channels: int, out: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv, nn.BatchNorm2d(out), nn.ReLU()
