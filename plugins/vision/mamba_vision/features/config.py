"""Typed configs of ``vision-backbone``: the backbone, which maps it gives out, its use on files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_vision.classification.config import ImageConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackboneConfig(ImageConfig):
    """Everything a feature extractor is built from."""

    out_indices: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3)
    """Which levels are given out, counted from the shallowest; rising."""

    @field_validator("out_indices")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError(f"out_indices = {value} must be at least one level, each once, rising")
        return value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BackbonePredict:
    """How features of files are taken."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Images in memory at once; files go one by one."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Side of the middle that is kept, as a share of the image, when it is not of the model's
    size."""
