"""An image backbone on every frame, averaged: the peer that does not know the frames' order."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.config import STRICT
from mamba_vision.backbones import Architecture, build_backbone
from mamba_vision.backbones.videomamba import check_clips
from mamba_vision.backbones.vim import VimConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FrameMeanConfig:
    """Any image backbone, frame by frame."""

    kind: Literal["frame-mean"] = "frame-mean"
    """Which architecture this is."""
    image: Architecture = VimConfig()
    """The image backbone."""


class FrameMean(nn.Module):
    """Clips ``(B, T, in_chans, H, W)`` -> one vector per frame, ``(B, T, num_features)``."""

    def __init__(
        self, config: FrameMeanConfig, image_size: tuple[int, int], frames: int, in_chans: int
    ) -> None:
        super().__init__()
        self.in_chans = in_chans
        self.image = build_backbone(config.image, image_size, in_chans)
        self.num_features = self.image.num_features

    def forward_features(self, clips: Tensor) -> Tensor:
        """Return the pooled features of every frame; ``clips`` are normalised."""
        check_clips(clips, self.in_chans, 1)
        return self.image(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])

    def pool(self, features: Tensor) -> Tensor:
        """The mean over the frames."""
        return features.mean(1)

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.image.set_gradient_checkpointing(on)
