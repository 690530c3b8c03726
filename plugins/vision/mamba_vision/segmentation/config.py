"""Typed configs of ``vision-seg``: the model, its training and its use on files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_vision.classification.config import ClassifierTrain, ImageConfig
from mamba_vision.segmentation.decoders import DecoderConfig, UPerNetConfig

IGNORE = 255
"""In ``masks``: a pixel that neither trains nor counts."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SegmenterConfig(ImageConfig):
    """Everything a segmentation model is built from."""

    decoder: DecoderConfig = UPerNetConfig()
    """From the backbone's maps to one; ``kind`` chooses it."""
    num_classes: Annotated[int, Field(ge=2, le=IGNORE)] = 150
    """Outputs per pixel."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in order; empty names them by number."""
    drop_rate: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout of whole channels before the last layer."""

    @model_validator(mode="after")
    def _labels_fit(self) -> SegmenterConfig:
        if self.labels and len(self.labels) != self.num_classes:
            raise ValueError(
                f"labels has {len(self.labels)} names, num_classes = {self.num_classes}"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SegmenterPredict:
    """How images are segmented."""

    overlay: bool = True
    """Also write the image with the classes' colours over it."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the colours in the overlay: 0 shows the image only, 1 the colours only."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SegmenterTrain(ClassifierTrain):
    """The training of image classifiers, with fewer images at once."""

    batch_size: Annotated[int, Field(ge=1)] = 8
    """Images per process and forward pass."""
