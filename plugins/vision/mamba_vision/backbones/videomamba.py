"""Columns of mixers over clips: VideoMamba and Mamba-ND.

VideoMamba (Li et al., 2403.06977) is Vim over the patches of all frames: a class token in front,
positions of a frame and of time, and both directions added rather than averaged. Mamba-ND (Li et
al., 2402.05892) gives each layer one path, and lets the layers take turns at the axes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_vision.backbones.column import Column, ColumnConfig
from mamba_vision.backbones.mixing import Mixing
from mamba_vision.backbones.parts import grid_of, to_tokens
from mamba_vision.backbones.positions import GridPositions

AxisOrder = Literal["thw", "twh", "htw", "hwt", "wth", "wht"]
"""An arrangement of time, height and width; the last letter is the axis read fastest."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Alternation:
    """Layers that take turns at the axes, one path each (Mamba-ND)."""

    axes: tuple[AxisOrder, ...] = ("thw", "twh", "wht")
    """Arrangements, in turn."""
    both_ways: bool = True
    """Each arrangement forward in one layer, then backward in the next."""

    @field_validator("axes")
    @classmethod
    def _some(cls, value: tuple[AxisOrder, ...]) -> tuple[AxisOrder, ...]:
        if not value:
            raise ValueError("axes is empty: give at least one arrangement, such as 'thw'")
        return value

    def over(self, mixing: Mixing) -> Mixing:
        """Return a mixing with this in place of its order and merge."""
        layers = []
        for letters in self.axes:
            numbers = ", ".join(str("thw".index(letter)) for letter in letters)
            path = f"raster:axes({numbers})"
            layers += [path, f"{path}:reverse"] if self.both_ways else [path]
        return mixing.changed(scan_order="|".join(layers), merge="none")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VideoMambaConfig(ColumnConfig):
    """A column of mixers over the patches of all frames."""

    kind: Literal["videomamba"] = "videomamba"
    """Which architecture this is."""
    tubelet: Annotated[int, Field(ge=1)] = 1
    """Frames per token; a number of frames that it does not divide repeats the last one."""
    mixing: Mixing = Mixing(mixer=MixerChoice("mamba1"), scan_order="bidirectional", merge="sum")
    """Mixer and scan order of every layer: frame after frame and backwards, added."""
    alternation: Alternation | None = None
    """Axes that the layers take turns at, in place of ``mixing.scan_order`` and ``merge``."""
    class_token: Literal["middle", "first", "last", "none"] = "first"
    """Where it is read; with none the tokens are averaged."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Highest rate of stochastic depth, reached by the last layer."""


class VideoMamba(Column):
    """Clips ``(B, T, in_chans, H, W)`` -> tokens; see :class:`VideoMambaConfig`.

    :param image_size: height and width that learned positions are made for.
    :param frames: number of frames they are made for.
    """

    def __init__(
        self, config: VideoMambaConfig, image_size: tuple[int, int], frames: int, in_chans: int
    ) -> None:
        super().__init__()
        self.config, self.in_chans = config, in_chans
        patch, d = config.patch_size, config.d_model
        size = (config.tubelet, patch, patch)
        self.patch_embed = nn.Conv3d(in_chans, d, size, stride=size)
        nn.init.trunc_normal_(self.patch_embed.weight, std=(in_chans * patch * patch) ** -0.5)
        assert self.patch_embed.bias is not None
        nn.init.zeros_(self.patch_embed.bias)
        self.positions: GridPositions | None = None
        self.time_positions: nn.Parameter | None = None
        if config.positions:
            self.positions = GridPositions(grid_of(image_size, patch, patch), d)
            steps = -(-frames // config.tubelet)
            self.time_positions = nn.Parameter(torch.zeros(1, steps, d))
        mixing = config.mixing
        if config.alternation is not None:
            mixing = config.alternation.over(mixing)
        self.make_column(config, mixing, dims=3)

    def forward_features(self, clips: Tensor) -> Tensor:
        """Return the normed tokens ``(B, t h w, d_model)``, the class token's row last.

        :param clips: ``(B, T, in_chans, H, W)``, normalised.
        :raises ValueError: for another shape or number of channels, and images smaller than a
            patch.
        """
        check_clips(clips, self.in_chans, self.config.patch_size)
        grid = self.patch_embed(_whole(clips, self.config).transpose(1, 2))
        shape = tuple(grid.shape[2:])
        x = to_tokens(grid)
        if self.positions is not None and self.time_positions is not None:
            frames = x.unflatten(1, (shape[0], -1))
            frames = self.positions(frames.flatten(0, 1), shape[1:]).view_as(frames)
            x = (frames + self._time(shape[0])[:, :, None]).flatten(1, 2)
        return self.run_column(x, shape)[0]

    def _time(self, steps: int) -> Tensor:
        """Positions of another number of steps, resampled linearly: ``(1, steps, d_model)``."""
        assert self.time_positions is not None
        if steps == self.time_positions.shape[1]:
            return self.time_positions
        series = self.time_positions.transpose(1, 2)
        resized = F.interpolate(series, size=steps, mode="linear", align_corners=False)
        return resized.transpose(1, 2)

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.layers.gradient_checkpointing = on


def check_clips(clips: Tensor, in_chans: int, smallest: int) -> None:
    """Raise ``ValueError`` for clips that a backbone cannot take.

    :param smallest: of height and width, in pixels.
    """
    if clips.dim() != 5 or clips.shape[2] != in_chans or clips.shape[1] == 0:
        raise ValueError(
            f"clips has shape {tuple(clips.shape)}, expected (batch, frames, {in_chans}, height, "
            "width) with at least one frame: build the model with in_chans of your clips, or "
            "convert them"
        )
    if min(clips.shape[3:]) < smallest:
        raise ValueError(
            f"frames are {clips.shape[3]}x{clips.shape[4]}, smaller than one patch of {smallest} "
            "pixels: enlarge them, or build the model with smaller patches"
        )


def _whole(clips: Tensor, config: VideoMambaConfig) -> Tensor:
    """Zeros below and to the right, and the last frame again, until patches cover the clip."""
    patch = config.patch_size
    below, right = (-size % patch for size in clips.shape[3:])
    if below or right:
        clips = F.pad(clips, (0, right, 0, below))
    missing = -clips.shape[1] % config.tubelet
    if missing:
        clips = torch.cat([clips, clips[:, -1:].expand(-1, missing, -1, -1, -1)], dim=1)
    return clips
