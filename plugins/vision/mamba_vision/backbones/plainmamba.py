"""PlainMamba (Yang et al., 2403.17695): a column of one width over patches, read as serpentines.

A 7x7 convolution of stride 2 stands before the patches, so these are half as large on its map.
No class token: the tokens are averaged. After the first layer the small model adds a depth-wise
convolution of the grid with BatchNorm and GELU.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.blocks import BlockConfig
from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_core.mixers.grid import depthwise
from mamba_vision.backbones.base import ImageBackbone, Level, check_images
from mamba_vision.backbones.mixing import GridStack, Mixing, drop_rates, start_residuals
from mamba_vision.backbones.parts import EPS, grid_of, pad_to, patch_conv, to_map, to_tokens
from mamba_vision.backbones.positions import GridPositions

_STEM = 64
"""Channels between the two convolutions."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlainMambaConfig:
    """A column of PlainMamba's mixers over patches."""

    kind: Literal["plainmamba"] = "plainmamba"
    """Which architecture this is."""
    patch_size: Annotated[int, Field(ge=2, multiple_of=2)] = 16
    """Side of a patch, in pixels; even."""
    d_model: Annotated[int, Field(ge=1)] = 192
    """Channels of the tokens."""
    depth: Annotated[int, Field(ge=1)] = 24
    """Mixer layers."""
    mixing: Mixing = Mixing(mixer=MixerChoice("plain-mamba", bias=True), scan_order="serpentine4")
    """Mixer of every layer; PlainMamba's own has its serpentines built in."""
    local: bool = False
    """Add a convolution of the grid after the first layer."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Highest rate of stochastic depth, reached by the last layer."""

    def mixings(self) -> tuple[str, ...]:
        """Names of the fields that say how tokens are mixed."""
        return ("mixing",)


class PlainMambaColumn(ImageBackbone):
    """Images -> tokens ``(B, L, d_model)``; see :class:`PlainMambaConfig`."""

    def __init__(
        self, config: PlainMambaConfig, image_size: tuple[int, int], in_chans: int
    ) -> None:
        super().__init__()
        self.config, self.in_chans = config, in_chans
        d, patch = config.d_model, config.patch_size
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, _STEM, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(_STEM),
            nn.ReLU(inplace=True),
        )
        self.patch_embed = patch_conv(_STEM, d, patch // 2, patch // 2)
        self.positions = GridPositions(grid_of(image_size, patch, patch), d)
        block = BlockConfig(norm="layer", norm_eps=EPS)
        rates = drop_rates(config.drop_path, config.depth)
        self.first = GridStack(d, config.mixing, rates[:1], block=block)
        self.local = (
            nn.Sequential(depthwise(d, 3), nn.BatchNorm2d(d), nn.GELU()) if config.local else None
        )
        self.rest = GridStack(d, config.mixing, rates[1:], block=block) if rates[1:] else None
        self.norm = nn.LayerNorm(d, eps=EPS)
        self.num_features = d
        self.taps = sorted({(config.depth - 1) * k // 4 - 1 for k in (1, 2, 3, 4)} - {-1, -2})
        self.levels = tuple(Level(d, patch, f"rest.blocks.{t}") for t in self.taps)
        start_residuals(self, config.depth)

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        patch = self.config.patch_size
        check_images(images, self.in_chans, patch)
        patches = self.patch_embed(self.stem(pad_to(images, patch, patch)))
        shape = (patches.shape[2], patches.shape[3])
        x = self.first(self.positions(to_tokens(patches), shape), shape)
        if self.local is not None:
            x = x + to_tokens(self.local(to_map(x, shape)))
        taken: list[Tensor] = []
        if self.rest is not None:
            x, taken = self.rest.run(x, shape, self.taps)
        return self.norm(x), [to_map(level, shape) for level in taken]

    def head_parts(self) -> list[nn.Module]:
        """See :meth:`ImageBackbone.head_parts`."""
        return [self.norm]

    def pool(self, features: Tensor) -> Tensor:
        """The mean of the tokens."""
        return features.mean(1)

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """See :meth:`ImageBackbone.set_input_size`; the positions are resampled for good."""
        patch = self.config.patch_size
        self.positions.resize(grid_of(image_size, patch, patch))
