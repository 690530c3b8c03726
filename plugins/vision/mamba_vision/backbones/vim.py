"""Vim (Zhu et al., 2401.09417): patches of one size, read by one column of mixers.

A class token stands in the middle of every path, positions are learned, and each layer is a
pre-norm residual mixer without an MLP. In the tensor of tokens the class token is the last row;
where it is *read* is the scan order's affair.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.blocks import BlockConfig
from mamba_core.blocks.block import make_norm
from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_vision.backbones.base import ImageBackbone, Level, check_images
from mamba_vision.backbones.mixing import GridStack, Mixing, drop_rates, start_residuals
from mamba_vision.backbones.parts import EPS, grid_of, pad_to, patch_conv, to_map, to_tokens
from mamba_vision.backbones.positions import GridPositions

_PLACES = {"middle": "middle", "first": "head", "last": "tail"}
"""Of the class token, in the words of scan orders."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VimConfig:
    """A column of mixers over patches."""

    kind: Literal["vim"] = "vim"
    """Which architecture this is."""
    patch_size: Annotated[int, Field(ge=1)] = 16
    """Side of a patch, in pixels."""
    stride: Annotated[int, Field(ge=1)] | None = None
    """Pixels from patch to patch; None is ``patch_size``, smaller makes patches overlap."""
    conv_layers: Annotated[int, Field(ge=0, le=3)] = 0
    """3x3 convolutions with BatchNorm and ReLU before the patches, for small images."""
    d_model: Annotated[int, Field(ge=1)] = 192
    """Channels of the tokens."""
    depth: Annotated[int, Field(ge=1)] = 24
    """Mixer layers."""
    mixing: Mixing = Mixing(mixer=MixerChoice("mamba1"))
    """Mixer and scan order of every layer."""
    mlp_ratio: Annotated[float, Field(ge=0)] = 0.0
    """Hidden channels of an MLP behind every mixer, per channel; 0 has none, as in Vim."""
    class_token: Literal["middle", "first", "last", "none"] = "middle"
    """Where it is read; with none the tokens are averaged."""
    positions: bool = True
    """Add a learned vector per patch."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm before each layer and after the last."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Highest rate of stochastic depth, reached by the last layer."""

    def mixings(self) -> tuple[str, ...]:
        """Names of the fields that say how tokens are mixed."""
        return ("mixing",)


def small_stem(in_chans: int, channels: int, layers: int) -> nn.Sequential:
    """3x3 convolutions that keep the size, each with BatchNorm and ReLU."""
    parts: list[nn.Module] = []
    for index in range(layers):
        conv = nn.Conv2d(channels if index else in_chans, channels, 3, padding=1, bias=False)
        parts += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts)


class Vim(ImageBackbone):
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
        with_class = config.class_token != "none"
        self.class_token = nn.Parameter(torch.zeros(1, 1, d)) if with_class else None
        self.class_position = (
            nn.Parameter(torch.zeros(1, 1, d)) if with_class and config.positions else None
        )
        block = BlockConfig(norm=config.norm, norm_eps=EPS)
        self.layers = GridStack(
            d,
            config.mixing,
            drop_rates(config.drop_path, config.depth),
            block=block,
            mlp_ratio=config.mlp_ratio,
            extra=_PLACES[config.class_token] if with_class else None,
        )
        self.norm = make_norm(block, d)
        self.num_features = d
        self.taps = sorted({config.depth * k // 4 - 1 for k in (1, 2, 3, 4)} - {-1})
        self.levels = tuple(
            Level(d, self.stride, f"layers.blocks.{(t + 1) * self.layers.per_layer - 1}")
            for t in self.taps
        )
        for token in (self.class_token, self.class_position):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)
        start_residuals(self.layers, len(self.layers.blocks))

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        check_images(images, self.in_chans, self.config.patch_size)
        images = pad_to(images, self.config.patch_size, self.stride)
        patches = self.patch_embed(self.stem(images))
        shape = (patches.shape[2], patches.shape[3])
        x = to_tokens(patches)
        if self.positions is not None:
            x = self.positions(x, shape)
        if self.class_token is not None:
            token: Tensor = self.class_token
            if self.class_position is not None:
                token = token + self.class_position
            x = torch.cat([x, token.expand(len(x), -1, -1)], dim=1)
        x, taken = self.layers.run(x, shape, self.taps)
        cells = shape[0] * shape[1]
        return self.norm(x), [to_map(level[:, :cells], shape) for level in taken]

    def head_parts(self) -> list[nn.Module]:
        """See :meth:`ImageBackbone.head_parts`."""
        return [self.norm]

    def pool(self, features: Tensor) -> Tensor:
        """The class token, or the mean of the tokens."""
        return features.mean(1) if self.class_token is None else features[:, -1]

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """See :meth:`ImageBackbone.set_input_size`; the positions are resampled for good."""
        if self.positions is not None:
            self.positions.resize(grid_of(image_size, self.config.patch_size, self.stride))
