"""PointNet (Qi et al., 1612.00593) without its transforms: the peer that mixes no tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.config import STRICT
from mamba_vision.points.groups import PointNorm


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PointNetConfig:
    """The same layers for every point, then the maximum over all."""

    kind: Literal["pointnet"] = "pointnet"
    """Which architecture this is."""
    widths: tuple[Annotated[int, Field(ge=1)], ...] = (64, 64, 128, 1024)
    """Of the layers."""


class PointNet(nn.Module):
    """Clouds ``(B, N, columns)`` -> features of points ``(B, N, widths[-1])``."""

    def __init__(self, config: PointNetConfig, columns: int) -> None:
        super().__init__()
        self.num_features = config.widths[-1]
        parts: list[nn.Module] = []
        for before, width in zip((columns, *config.widths), config.widths, strict=False):
            parts += [nn.Linear(before, width), PointNorm(width), nn.ReLU()]
        self.layers = nn.Sequential(*parts)

    def forward_features(self, points: Tensor) -> Tensor:
        """Return the features of every point."""
        return self.layers(points)

    def pool(self, features: Tensor) -> Tensor:
        """The maximum over the points."""
        return features.amax(1)

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        """Nothing is recomputed here: the layers are few."""
