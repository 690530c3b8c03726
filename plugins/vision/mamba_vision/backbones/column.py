"""A column of mixers over the tokens of a grid, of images or clips, with or without a class token.

In the tensor of tokens the class token is the last row; where it is *read* is the scan order's
affair.
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
from mamba_vision.backbones.mixing import GridStack, Mixing, drop_rates, start_residuals
from mamba_vision.backbones.parts import EPS, to_map

_PLACES = {"middle": "middle", "first": "head", "last": "tail"}
"""Of the class token, in the words of scan orders."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ColumnConfig:
    """Layers of one width over patches of one size."""

    patch_size: Annotated[int, Field(ge=1)] = 16
    """Side of a patch, in pixels."""
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


class Column(nn.Module):
    """The part behind the patches; subclasses make tokens, then call :meth:`run_column`."""

    def make_column(self, config: ColumnConfig, mixing: Mixing, dims: int) -> None:
        """Make class token, layers and norm.

        :param mixing: mixer and scan order of the layers.
        :param dims: dimensions of the grid, 2 for images and 3 for clips.
        """
        d = self.num_features = config.d_model
        with_class = config.class_token != "none"
        self.class_token = nn.Parameter(torch.zeros(1, 1, d)) if with_class else None
        self.class_position = (
            nn.Parameter(torch.zeros(1, 1, d)) if with_class and config.positions else None
        )
        block = BlockConfig(norm=config.norm, norm_eps=EPS)
        self.layers = GridStack(
            d,
            mixing,
            drop_rates(config.drop_path, config.depth),
            block=block,
            mlp_ratio=config.mlp_ratio,
            extra=_PLACES[config.class_token] if with_class else None,
            dims=dims,
        )
        self.norm = make_norm(block, d)
        self.taps = sorted({config.depth * k // 4 - 1 for k in (1, 2, 3, 4)} - {-1})
        for token in (self.class_token, self.class_position):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)
        start_residuals(self.layers, len(self.layers.blocks))

    def run_column(self, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
        """Mix the tokens of a grid.

        :param x: ``(B, L, d_model)``, L the cells of ``shape``.
        :returns: the normed tokens, with a class token ``(B, L + 1, d_model)`` whose row is the
            last; and maps ``(B, d_model, *shape)`` after each quarter of the layers.
        """
        if self.class_token is not None:
            token: Tensor = self.class_token
            if self.class_position is not None:
                token = token + self.class_position
            x = torch.cat([x, token.expand(len(x), -1, -1)], dim=1)
        cells = x.shape[1] - (self.class_token is not None)
        x, taken = self.layers.run(x, shape, self.taps)
        return self.norm(x), [to_map(level[:, :cells], shape) for level in taken]

    def pool(self, features: Tensor) -> Tensor:
        """The class token, or the mean of the tokens: ``(B, L, d_model) -> (B, d_model)``."""
        return features.mean(1) if self.class_token is None else features[:, -1]
