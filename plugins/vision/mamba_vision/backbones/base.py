"""What every image backbone offers to heads, decoders and users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Level:
    """One feature map a backbone can give out."""

    channels: int
    """Of the map."""
    stride: int
    """Pixels of the image per cell of the map, on a side."""
    module: str
    """Name of the module whose output it is."""


def feature_info(levels: Iterable[Level]) -> list[dict[str, Any]]:
    """Return levels as timm tells of them: channels, reduction and module of each.

    :param levels: of a model's ``backbone``.
    """
    return [
        {
            "num_chs": level.channels,
            "reduction": level.stride,
            "module": f"backbone.{level.module}",
        }
        for level in levels
    ]


class ImageBackbone(nn.Module, ABC):
    """Images ``(B, in_chans, H, W)`` -> features, and maps at several levels on the way.

    Subclasses set ``num_features`` (channels of the pooled features) and ``levels``.
    """

    num_features: int
    levels: tuple[Level, ...]

    @abstractmethod
    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last, normed features and the maps of all levels.

        :param images: ``(B, in_chans, H, W)``, normalised.
        :returns: features as the architecture has them, tokens ``(B, L, D)`` or a map
            ``(B, D, h, w)``; and one ``(B, channels, h, w)`` per level, shallow first.
        """

    @abstractmethod
    def pool(self, features: Tensor) -> Tensor:
        """Return one vector per image, ``(B, num_features)``, from the features."""

    def head_parts(self) -> list[nn.Module]:
        """Return the parts that the features need and the maps do not, such as the last norm."""
        return []

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the features before pooling; see :meth:`forward_levels`."""
        return self.forward_levels(images)[0]

    def forward(self, images: Tensor) -> Tensor:
        """Return one vector per image, ``(B, num_features)``."""
        return self.pool(self.forward_features(images))

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """Prepare for another image size ``(H, W)``; a backbone without positions takes any."""

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        for module in self.modules():
            if module is not self and hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = on  # type: ignore[assignment]


class StagedBackbone(ImageBackbone):
    """A hierarchy of maps ``(B, C, H, W)``: stem, stages with a step down between two, last norm.

    Subclasses set these parts, ``in_chans``, ``num_features`` and ``levels``.
    """

    in_chans: int
    stem: nn.Module
    stages: nn.ModuleList
    downs: nn.ModuleList
    norm: nn.Module

    def forward_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`ImageBackbone.forward_levels`."""
        check_images(images, self.in_chans, self.levels[0].stride)
        grid, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            grid = stage(grid)
            maps.append(grid)
            if index < len(self.downs):
                grid = self.downs[index](grid)
        return self.norm(grid), maps

    def head_parts(self) -> list[nn.Module]:
        """See :meth:`ImageBackbone.head_parts`."""
        return [self.norm]

    def pool(self, features: Tensor) -> Tensor:
        """The mean over the map."""
        return features.mean((2, 3))


def check_images(images: Tensor, in_chans: int, smallest: int) -> None:
    """Raise for images that a backbone cannot take.

    :param smallest: of height and width, in pixels.
    :raises ValueError: for another shape, number of channels, or images that are too small.
    """
    if images.dim() != 4 or images.shape[1] != in_chans:
        raise ValueError(
            f"images has shape {tuple(images.shape)}, expected (batch, {in_chans}, height, width): "
            "build the model with in_chans of your images, or convert them"
        )
    if min(images.shape[2:]) < smallest:
        raise ValueError(
            f"images are {images.shape[2]}x{images.shape[3]}, smaller than one patch of {smallest} "
            "pixels: enlarge them, or build the model with smaller patches"
        )
