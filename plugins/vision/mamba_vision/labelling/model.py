"""A backbone and a head that names classes. The attributes are timm's."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.pretrained import SavePretrained
from mamba_vision.labelling.config import LabelConfig


class Backbone(Protocol):
    """What a classifier asks of its backbone, an ``nn.Module``."""

    num_features: int

    def forward_features(self, inputs: Tensor) -> Tensor: ...
    def pool(self, features: Tensor) -> Tensor: ...
    def set_gradient_checkpointing(self, on: bool = True) -> None: ...


class Classifier(nn.Module, SavePretrained):
    """Logits per class: a backbone, its pooled features, and a head.

    The methods that timm's models have bear timm's names.

    :param backbone: a module with ``num_features``, ``forward_features`` and ``pool``.
    """

    backbone: Any
    config: LabelConfig

    def __init__(self, config: LabelConfig, backbone: nn.Module) -> None:
        super().__init__()
        self.config, self.backbone = config, backbone
        self.num_features = self.head_hidden_size = self.backbone.num_features
        self.head_drop = nn.Dropout(config.drop_rate)
        self.reset_classifier(config.num_classes)

    def forward_features(self, inputs: Tensor) -> Tensor:
        """Return the features before pooling, as the backbone has them."""
        return self.backbone.forward_features(inputs)

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
            self.head = self.make_head(num_classes).to(device=like.device, dtype=like.dtype)

    def make_head(self, num_classes: int) -> nn.Module:
        """Return a fresh head ``(B, num_features) -> (B, num_classes)``; here a Linear."""
        head = nn.Linear(self.num_features, num_classes)
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        return head

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

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


def labelled(inputs: Tensor, labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Return ``labels`` and ``targets`` of an example batch, and noise that follows them.

    :param inputs: noise ``(batch, ...)``.
    :returns: ``inputs``: the noise, brighter the higher the class; ``labels`` int64 ``(batch,)``;
        ``targets`` float32 ``(batch, classes)``.
    """
    height = (2 * labels / classes - 1).view(-1, *[1] * (inputs.dim() - 1))
    targets = F.one_hot(labels, classes).float()
    return {"inputs": inputs * 0.5 + height, "labels": labels, "targets": targets}


def draw_labels(batch_size: int, classes: int, generator: torch.Generator) -> Tensor:
    """Return classes for an example batch, int64 ``(batch,)``."""
    return torch.randint(classes, (batch_size,), generator=generator)
