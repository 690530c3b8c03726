"""A classifier of clouds: a backbone over points, and a small head."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mamba_core.registry import ConfigError
from mamba_vision.labelling.model import Classifier, draw_labels
from mamba_vision.points.clouds import normalised
from mamba_vision.points.config import PointsConfig
from mamba_vision.points.pointmamba import PointMamba, PointMambaConfig
from mamba_vision.points.pointnet import PointNet


class PointsClassifier(Classifier):
    """Logits per class.

    :param config: see :class:`~mamba_vision.points.config.PointsConfig`.
    :raises ConfigError: for a mixer or order that the architecture cannot take.
    """

    config: PointsConfig

    def __init__(self, config: PointsConfig) -> None:
        super().__init__(config, _backbone(config))

    def forward(self, points: Tensor) -> dict[str, Tensor]:
        """Classify clouds.

        :param points: ``(batch, points, 3 + features)``, normalised as the config says; any number
            of points from the number of groups on.
        :returns: ``{"logits": (batch, num_classes)}``; the pooled features without a head.
        :raises ValueError: for another number of columns, or too few points.
        """
        return {"logits": self.forward_head(self.forward_features(points))}

    def forward_features(self, inputs: Tensor) -> Tensor:
        """Return the features before pooling, ``(batch, tokens, num_features)``."""
        columns, fewest = 3 + self.config.features, fewest_points(self.config)
        if inputs.dim() != 3 or inputs.shape[2] != columns:
            raise ValueError(
                f"points has shape {tuple(inputs.shape)}, expected (batch, points, {columns}): x, "
                f"y, z and {self.config.features} features; build the model with features of yours"
            )
        if inputs.shape[1] < fewest:
            raise ValueError(
                f"a cloud has {inputs.shape[1]} points, the model makes {fewest} groups: give "
                "clouds of more points, or build it with architecture.groups to match"
            )
        return self.backbone.forward_features(inputs)

    def make_head(self, num_classes: int) -> nn.Module:
        """Return a fresh head of Linears with BatchNorm, ReLU and dropout between."""
        parts: list[nn.Module] = []
        width = self.num_features
        for hidden in self.config.head_widths:
            parts += [nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
            parts.append(nn.Dropout(self.config.drop_rate))
            width = hidden
        last = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(last.weight, std=0.02)
        nn.init.zeros_(last.bias)
        return nn.Sequential(*parts, last)


def fewest_points(config: PointsConfig) -> int:
    """Return how many points a cloud must have."""
    architecture = config.architecture
    return architecture.groups if isinstance(architecture, PointMambaConfig) else 1


def _backbone(config: PointsConfig) -> nn.Module:
    architecture, columns = config.architecture, 3 + config.features
    given = {"mixer": config.mixer, "scan_order": config.scan_order, "merge": config.merge}
    chosen = {name: value for name, value in given.items() if value is not None}
    if isinstance(architecture, PointMambaConfig):
        return PointMamba(replace(architecture, **chosen), columns)  # type: ignore[arg-type]
    if chosen:
        raise ConfigError(
            f"architecture.kind = {architecture.kind!r} has no mixer of tokens to replace: leave "
            f"{', '.join(chosen)} out, or choose another kind"
        )
    return PointNet(architecture, columns)


def example(
    config: PointsConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return clouds that are the flatter the higher their class.

    :returns: ``points`` float32 ``(batch, points, 3 + features)``, ``labels`` int64 ``(batch,)``,
        ``targets`` float32 ``(batch, num_classes)``.
    """
    classes = max(config.num_classes, 1)
    labels = draw_labels(batch_size, classes, generator)
    shape = (batch_size, config.points, 3 + config.features)
    clouds = torch.randn(shape, generator=generator)
    clouds[..., 2] *= (1 - labels / classes)[:, None]
    points = torch.stack([normalised(cloud, config) for cloud in clouds])
    targets = nn.functional.one_hot(labels, classes).float()
    batch = {"points": points, "labels": labels, "targets": targets}
    return {name: value.to(device) for name, value in batch.items()}
