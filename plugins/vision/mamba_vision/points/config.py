"""Typed configs of ``points-cls``: the model and its use on files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import MixerChoice
from mamba_vision.labelling.config import LabelConfig, LabelPredict
from mamba_vision.points.pointmamba import PointMambaConfig, Reading
from mamba_vision.points.pointnet import PointNetConfig

PointArchitecture = Annotated[PointMambaConfig | PointNetConfig, Field(discriminator="kind")]
"""The config of a cloud's backbone; ``kind`` says which."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PointsConfig(LabelConfig):
    """Everything a classifier of clouds is built from."""

    points: Annotated[int, Field(ge=1)] = 1024
    """Points of a cloud that the model is made for; other numbers go through it too, from as many
    as it has groups."""
    features: Annotated[int, Field(ge=0)] = 0
    """Columns of a point besides x, y and z, such as a colour or an intensity."""
    normalise: Literal["unit-sphere", "centre", "none"] = "unit-sphere"
    """What is done to the places before the model sees them: centred, and scaled so that the
    farthest point is at 1; only centred; nothing. The size of a thing is lost by the first."""
    unit: Annotated[float, Field(gt=0)] = 1.0
    """With ``centre`` and ``none``, places are divided by it: 10 for things of tens of metres."""
    head_widths: tuple[Annotated[int, Field(ge=1)], ...] = (256, 256)
    """Hidden layers of the head, each with BatchNorm, ReLU and dropout; empty is one Linear."""
    architecture: PointArchitecture = PointMambaConfig()
    """The backbone; ``kind`` chooses the family, the other fields are that family's own."""
    mixer: MixerChoice | None = None
    """A registered mixer in place of the architecture's own; None keeps it."""
    scan_order: str | None = None
    """A registered order in place of the architecture's own; None keeps it."""
    merge: Reading | None = None
    """What becomes of the paths, in place of the architecture's own; None keeps it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PointsPredict(LabelPredict):
    """How clouds are classified."""

    batch_size: Annotated[int, Field(ge=1)] = 16
    """Clouds at once."""
