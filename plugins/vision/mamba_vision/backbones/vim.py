"""Vim (Zhu et al., 2401.09417): patches of one size, read by one column of mixers.

A class token stands in the middle of every path, positions are learned, and each layer is a
pre-norm residual mixer without an MLP.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.config import STRICT
from mamba_vision.backbones.base import ImageBackbone, Level, check_images
from mamba_vision.backbones.column import Column, ColumnConfig
from mamba_vision.backbones.parts import grid_of, pad_to, patch_conv, to_tokens
from mamba_vision.backbones.positions import GridPositions


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VimConfig(ColumnConfig):
    """A column of mixers over patches."""

    kind: Literal["vim"] = "vim"
    """Which architecture this is."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Pixels from patch to patch; None is ``patch_size``, smaller makes patches overlap."""
    conv_layers: Annotated[int, Field(ge=0, le=3)] = 0
    """3x3 convolutions with BatchNorm and ReLU before the patches, for small images."""


def small_stem(in_chans: int, channels: int, layers: int) -> nn.Sequential:
    """3x3 convolutions that keep the size, each with BatchNorm and ReLU."""
    parts: list[nn.Module] = []
    for index in range(layers):
        conv = nn.Conv2d(channels if index else in_chans, channels, 3, padding=1, bias=False)
        parts += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


class Vim(Column, ImageBackbone):
    """Images -> tokens; see :class:`VimConfig`.

    Features are tokens ``(B, L, d_model)``, with a class token ``(B, L + 1, d_model)`` whose row
    is the last.
    """

    def __init__(self, config: VimConfig, image_size: tuple[int, int], in_chans: int) -> None:
        super().__init__()
        self.config, self.in_chans = config, in_chans
        self.stride = config.stride or config.patch_size
        d = config.d_model
        self.stem = small_stem(in_chans, d // 2, config.conv_layers)
        patch_in = d // 2 if config.conv_layers else in_chans
        self.patch_embed = patch_conv(patch_in, d, config.patch_size, self.stride)
        grid = grid_of(image_size, config.patch_size, self.stride)
        self.positions = GridPositions(grid, d) if config.positions else None
        self.make_column(config, config.mixing, dims=2)
        self.levels = tuple(
            Level(d, self.stride, f"layers.blocks.{(t + 1) * self.layers.per_layer - 1}")
            for t in self.taps
        )

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        check_images(images, self.in_chans, self.config.patch_size)
        images = pad_to(images, self.config.patch_size, self.stride)
        patches = self.patch_embed(self.stem(images))
        shape = (patches.shape[2], patches.shape[3])
        x = to_tokens(patches)
        if self.positions is not None:
            x = self.positions(x, shape)
        return self.run_column(x, shape)

    def head_parts(self) -> list[nn.Module]:
        """See :meth:`ImageBackbone.head_parts`."""
        return [self.norm]

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """See :meth:`ImageBackbone.set_input_size`; the positions are resampled for good."""
        if self.positions is not None:
            self.positions.resize(grid_of(image_size, self.config.patch_size, self.stride))
