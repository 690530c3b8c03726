"""An image classifier: any backbone, and a linear head. The attributes are timm's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mamba_vision.backbones.base import feature_info
from mamba_vision.backbones.choose import make_backbone
from mamba_vision.classification.config import ClassifierConfig
from mamba_vision.labelling.model import Classifier, draw_labels, labelled


class ImageClassifier(Classifier):
    """Logits per class.

    The methods that timm's models have bear timm's names and take its arguments, except that
    :meth:`forward` returns a dict like every task here; :meth:`forward_head` returns the tensor.

    :param config: see :class:`~mamba_vision.classification.config.ClassifierConfig`.
    :raises ConfigError: for a mixer or order that the architecture cannot take.
    """

    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config, make_backbone(config))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify images.

        :param images: ``(batch, in_chans, height, width)``, normalised by the config's mean and
            std; any size of at least one patch.
        :returns: ``{"logits": (batch, num_classes)}``; the pooled features without a head.
        :raises ValueError: for another number of channels, or images smaller than a patch.
        """
        return {"logits": self.forward_head(self.forward_features(images))}

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module of every level of :meth:`forward_intermediates`."""
        return feature_info(self.backbone.levels)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        *,
        intermediates_only: bool = False,
    ) -> Any:
        """Return maps ``(B, C, h, w)`` of some levels, and the features.

        :param indices: which levels, counted from 0 or, negative, from the last; a number n
            means the last n; None all.
        :param intermediates_only: only the list of maps.
        :returns: ``(features, maps)``, the features as :meth:`forward_features` has them.
        """
        features, maps = self.backbone.forward_levels(x)
        if isinstance(indices, int):
            indices = range(len(maps) - indices, len(maps))
        chosen = maps if indices is None else [maps[index] for index in indices]
        return chosen if intermediates_only else (features, chosen)

    def set_input_size(self, image_size: tuple[int, int]) -> None:
        """Prepare for another image size ``(H, W)``: learned positions are resampled for good."""
        self.backbone.set_input_size(image_size)


def example(
    config: ClassifierConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return noise whose brightness grows with the class.

    :returns: ``images`` float32 ``(batch, in_chans, height, width)``, ``labels`` int64
        ``(batch,)``, ``targets`` float32 ``(batch, num_classes)``.
    """
    classes = max(config.num_classes, 1)
    labels = draw_labels(batch_size, classes, generator)
    noise = torch.randn(batch_size, config.in_chans, *config.image_size, generator=generator)
    batch = labelled(noise, labels, classes)
    batch = {"images": batch.pop("inputs"), **batch}
    return {name: value.to(device) for name, value in batch.items()}
