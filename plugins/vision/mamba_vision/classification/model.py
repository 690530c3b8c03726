"""An image classifier: any backbone, and a linear head. The attributes are timm's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core.pretrained import SavePretrained
from mamba_vision.backbones.base import feature_info
from mamba_vision.backbones.choose import make_backbone
from mamba_vision.classification.config import ClassifierConfig


class ImageClassifier(nn.Module, SavePretrained):
    """Logits per class.

    The methods that timm's models have bear timm's names and take its arguments, except that
    :meth:`forward` returns a dict like every task here; :meth:`forward_head` returns the tensor.

    :param config: see :class:`~mamba_vision.classification.config.ClassifierConfig`.
    :raises ConfigError: for a mixer or order that the architecture cannot take.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config)
        self.num_features = self.head_hidden_size = self.backbone.num_features
        self.head_drop = nn.Dropout(config.drop_rate)
        self.reset_classifier(config.num_classes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Classify images.

        :param images: ``(batch, in_chans, height, width)``, normalised by the config's mean and
            std; any size of at least one patch.
        :returns: ``{"logits": (batch, num_classes)}``; the pooled features without a head.
        :raises ValueError: for another number of channels, or images smaller than a patch.
        """
        return {"logits": self.forward_head(self.forward_features(images))}

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the features before pooling: tokens ``(B, L, D)`` or a map ``(B, D, h, w)``."""
        return self.backbone.forward_features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits of features; with ``pre_logits`` the pooled ``(B, num_features)``."""
        pooled = self.backbone.pool(features)
        return pooled if pre_logits else self.head(self.head_drop(pooled))

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one, or by none (0)."""
        self.num_classes = num_classes
        self.head: nn.Module = nn.Identity()
        if num_classes:
            # where the rest is: a head for another data set is given to a model already moved
            like = next(self.backbone.parameters())
            head = nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype)
            nn.init.trunc_normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
            self.head = head

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

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

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Recompute each layer in the backward pass instead of keeping its activations."""
        self.backbone.set_gradient_checkpointing(on)

    set_grad_checkpointing = set_gradient_checkpointing

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that must not decay, besides vectors."""
        protected = (name for name, p in self.named_parameters() if _protected(name, p))
        return set(protected)


def _protected(name: str, parameter: nn.Parameter) -> bool:
    return getattr(parameter, "_no_weight_decay", False) or "position" in name or "token" in name


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
    labels = torch.randint(classes, (batch_size,), generator=generator)
    noise = torch.randn(batch_size, config.in_chans, *config.image_size, generator=generator)
    images = noise * 0.5 + (2 * labels / classes - 1)[:, None, None, None]
    targets = torch.nn.functional.one_hot(labels, classes).float()
    batch = {"images": images, "labels": labels, "targets": targets}
    return {name: value.to(device) for name, value in batch.items()}
