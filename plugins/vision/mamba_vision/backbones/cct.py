"""CCT (Hassani et al., 2104.05704): convolutions make the tokens, attention mixes them, a learned
weight per token pools them. With ``conv_layers=0`` and ``pool="mean"`` it is a plain ViT
(2010.11929) of small images: the peers of our columns in the same harness.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.blocks import BlockConfig
from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_vision.backbones.base import ImageBackbone, Level, check_images
from mamba_vision.backbones.mixing import GridStack, Mixing, drop_rates, start_residuals
from mamba_vision.backbones.parts import EPS, pad_to, patch_conv, to_map, to_tokens
from mamba_vision.backbones.positions import GridPositions


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CCTConfig:
    """A transformer encoder over patches or convolutional tokens."""

    kind: Literal["cct"] = "cct"
    """Which architecture this is."""
    conv_layers: Annotated[int, Field(ge=0)] = 2
    """Convolutions, each with ReLU and a max-pooling of stride 2; 0 cuts patches instead."""
    kernel: Annotated[int, Field(ge=1)] = 3
    """Side of these convolutions, odd."""
    patch_size: Annotated[int, Field(ge=1)] = 4
    """Side of a patch, for ``conv_layers=0``."""
    d_model: Annotated[int, Field(ge=1)] = 128
    """Channels of the tokens."""
    depth: Annotated[int, Field(ge=1)] = 2
    """Layers of attention and MLP."""
    heads: Annotated[int, Field(ge=1)] = 2
    """Of the attention."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 1.0
    """Hidden channels of the MLPs per channel."""
    pool: Literal["sequence", "mean"] = "sequence"
    """``sequence`` weighs the tokens by a learned softmax (CCT); ``mean`` averages them."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Highest rate of stochastic depth, reached by the last layer."""


class ConvTokens(nn.Sequential):
    """Convolutions without bias, ReLU and max-pooling of stride 2, as many times as asked."""

    def __init__(self, in_chans: int, d_model: int, layers: int, kernel: int) -> None:
        widths = [in_chans, *(64 for _ in range(layers - 1)), d_model]
        parts: list[nn.Module] = []
        for k in range(layers):
            conv = nn.Conv2d(widths[k], widths[k + 1], kernel, padding=kernel // 2, bias=False)
            nn.init.kaiming_normal_(conv.weight)
            parts += [conv, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)]
        super().__init__(*parts)


class CCT(ImageBackbone):
    """Images -> tokens ``(B, L, d_model)``; see :class:`CCTConfig`."""

    def __init__(self, config: CCTConfig, image_size: tuple[int, int], in_chans: int) -> None:
        super().__init__()
        self.config, self.in_chans = config, in_chans
        d = config.d_model
        self.stride = 2**config.conv_layers if config.conv_layers else config.patch_size
        self.tokens: nn.Module = (
            ConvTokens(in_chans, d, config.conv_layers, config.kernel)
            if config.conv_layers
            else patch_conv(in_chans, d, config.patch_size, config.patch_size)
        )
        self.positions = GridPositions(self._grid(image_size), d)
        attention = MixerChoice("attention", num_heads=config.heads, causal=False)
        self.layers = GridStack(
            d,
            Mixing(mixer=attention, scan_order="raster"),
            drop_rates(config.drop_path, config.depth),
            block=BlockConfig(norm="layer", norm_eps=EPS),
            mlp_ratio=config.mlp_ratio,
        )
        self.norm = nn.LayerNorm(d, eps=EPS)
        self.score = nn.Linear(d, 1) if config.pool == "sequence" else None
        self.num_features = d
        self.levels = (Level(d, self.stride, "layers"),)
        start_residuals(self.layers, len(self.layers.blocks))

    def _grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        height, width = (-(-size // self.stride) for size in image_size)
        return height, width

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        check_images(images, self.in_chans, 1 if self.config.conv_layers else self.stride)
        grid = self.tokens(pad_to(images, self.stride, self.stride))
        shape = (grid.shape[2], grid.shape[3])
        x = self.layers(self.positions(to_tokens(grid), shape), shape)
        return self.norm(x), [to_map(x, shape)]

    def head_parts(self) -> list[nn.Module]:
        """See :meth:`ImageBackbone.head_parts`."""
        return [self.norm] if self.score is None else [self.norm, self.score]

    def pool(self, features: Tensor) -> Tensor:
        """The weighed or plain mean of the tokens."""
        if self.score is None:
            return features.mean(1)
        return (self.score(features).softmax(1) * features).sum(1)

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """See :meth:`ImageBackbone.set_input_size`."""
        self.positions.resize(self._grid(image_size))
