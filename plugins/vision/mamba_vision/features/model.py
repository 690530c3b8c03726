"""A backbone without a head: one map per level, and the pooled features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mamba_core.pretrained import SavePretrained
from mamba_core.registry import ConfigError
from mamba_vision.backbones.base import feature_info
from mamba_vision.backbones.choose import make_backbone
from mamba_vision.features.config import BackboneConfig


class FeatureExtractor(nn.Module, SavePretrained):
    """Images -> a pyramid of maps, as timm's ``features_only`` models give.

    ``levels`` holds channels, stride and module of each map; ``channels`` and ``strides`` are the
    same as tuples. Maps of a column (Vim, PlainMamba) have one stride at every level. The weights
    lie under ``backbone.``, as in the other vision tasks:
    ``extractor.backbone.load_state_dict(classifier.backbone.state_dict())`` takes them over.

    :param config: see :class:`~mamba_vision.features.config.BackboneConfig`.
    :raises ConfigError: for levels that the architecture does not have, and for a mixer or order
        that it cannot take.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config)
        self.num_features = self.backbone.num_features
        found = self.backbone.levels
        if config.out_indices[-1] >= len(found):
            raise ConfigError(
                f"out_indices = {config.out_indices}: this architecture has the levels 0 to "
                f"{len(found) - 1}"
            )
        self.levels = tuple(found[index] for index in config.out_indices)
        self.channels = tuple(level.channels for level in self.levels)
        self.strides = tuple(level.stride for level in self.levels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps by name, and one vector per image.

        :param images: ``(batch, in_chans, height, width)``, normalised by the config's mean and
            std; any size of at least one patch.
        :returns: ``map{k}``: ``(batch, channels, ceil(height / stride), ceil(width / stride))``
            for every k of ``out_indices``; ``pooled``: ``(batch, num_features)``, of the last,
            normed features.
        :raises ValueError: for another number of channels, or images smaller than a patch.
        """
        features, maps = self.backbone.forward_levels(images)
        named = {f"map{index}": maps[index] for index in self.config.out_indices}
        return {**named, "pooled": self.backbone.pool(features)}

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return the maps only, shallow first, as a list like timm's; see :meth:`forward`."""
        maps = self.backbone.forward_levels(images)[1]
        return [maps[index] for index in self.config.out_indices]

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module of every map, in timm's words."""
        return feature_info(self.levels)

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """Prepare for another image size ``(H, W)``: learned positions are resampled for good."""
        self.backbone.set_input_size(image_size)

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.backbone.set_gradient_checkpointing(on)


def example(
    config: BackboneConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return noise: ``images`` float32 ``(batch, in_chans, height, width)``."""
    shape = (batch_size, config.in_chans, *config.image_size)
    return {"images": torch.randn(shape, generator=generator).to(device)}
