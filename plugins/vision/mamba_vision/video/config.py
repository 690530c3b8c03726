"""Typed configs of ``video-cls``: the model and its use on files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_vision.backbones.videomamba import VideoMambaConfig
from mamba_vision.classification.config import PixelConfig
from mamba_vision.labelling.config import LabelConfig, LabelPredict
from mamba_vision.video.frame_mean import FrameMeanConfig

VideoArchitecture = Annotated[VideoMambaConfig | FrameMeanConfig, Field(discriminator="kind")]
"""The config of a clip's backbone; ``kind`` says which."""
Short = Literal["repeat", "refuse"]
"""What becomes of a clip with fewer frames than the model asks for. ``repeat``: the frames that
there are stand in their order, evenly repeated. ``refuse``: the clip is named and left out."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VideoConfig(PixelConfig, LabelConfig):
    """Everything a clip classifier is built from."""

    frames: Annotated[int, Field(ge=1)] = 8
    """Frames of a clip that the model is made for; other numbers go through it too."""
    architecture: VideoArchitecture = VideoMambaConfig()
    """The backbone; ``kind`` chooses the family, the other fields are that family's own."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VideoPredict(LabelPredict):
    """How clips are classified."""

    batch_size: Annotated[int, Field(ge=1)] = 4
    """Clips at once."""
    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
    """Side of the middle that is kept, as a share of the frame, when it is not of the model's
    size."""
    short: Short = "repeat"
    """What becomes of a clip with fewer frames than the model asks for."""
