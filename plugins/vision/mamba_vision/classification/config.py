"""Typed configs of ``vision-cls``: the model, its data and its use on files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_core.mixers import Merge, MixerChoice
from mamba_core.training import TrainConfig
from mamba_vision.backbones import Architecture
from mamba_vision.backbones.vim import VimConfig
from mamba_vision.labelling.config import LabelConfig, LabelPredict

Side = Annotated[int, Field(ge=1)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PixelConfig:
    """What every model of images and clips is told about them, and what replaces its own mixers."""

    image_size: tuple[Side, Side] = (224, 224)
    """Height and width the model is made for; other sizes go through it too."""
    in_chans: Annotated[int, Field(ge=1)] = 3
    """Channels of the images: 1 grey, 3 colour."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Per channel, of pixels in 0 to 1; taken off before the model sees them."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = IMAGENET_STD
    """Per channel; what is left is divided by it."""
    mixer: MixerChoice | None = None
    """A registered mixer in place of the architecture's own; None keeps it."""
    scan_order: str | None = None
    """A registered order in place of the architecture's own; None keeps it."""
    merge: Merge | None = None
    """How paths become one, in place of the architecture's own; None keeps it."""

    @model_validator(mode="after")
    def _channels_agree(self) -> PixelConfig:
        if len(self.mean) != self.in_chans or len(self.std) != self.in_chans:
            raise ValueError(
                f"mean has {len(self.mean)} and std {len(self.std)} values, in_chans = "
                f"{self.in_chans}: give one per channel"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageConfig(PixelConfig):
    """What every image model is told about its images, and which backbone reads them."""

    architecture: Architecture = VimConfig()
    """The backbone; ``kind`` chooses the family, the other fields are that family's own."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierConfig(ImageConfig, LabelConfig):
    """Everything an image classifier is built from."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierPredict(LabelPredict):
    """How images are classified."""

    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
    """Side of the middle that is kept, as a share of the image, when it is not of the model's
    size."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierTrain(TrainConfig):
    """The core's training with the defaults of image classifiers (DeiT's, at 512 images)."""

    batch_size: Annotated[int, Field(ge=1)] = 128
    """Images per process and forward pass."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """For matrices; A_log, dt biases and D have none, unlike in Vim and VMamba."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.999,
    )
    """Of AdamW."""
