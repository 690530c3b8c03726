"""Typed configs of a head that names classes, and of its use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelConfig:
    """The classes a model tells apart."""

    num_classes: Annotated[int, Field(ge=0)] = 1000
    """Outputs of the head; 0 has no head, and the model gives out the pooled features."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in order; empty names them by number."""
    drop_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the head."""

    @model_validator(mode="after")
    def _labels_fit(self) -> LabelConfig:
        if self.labels and len(self.labels) != self.num_classes:
            raise ValueError(
                f"labels has {len(self.labels)} names, num_classes = {self.num_classes}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelPredict:
    """How samples are classified."""

    top: Annotated[int, Field(ge=1)] = 5
    """How many of the most probable classes are given for each sample."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Samples at once."""
    features: bool = False
    """Also write the pooled features of all files that can be read, as ``features.npy``."""
