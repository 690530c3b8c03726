"""Typed configs of labelled clips: where they lie, and how they are varied in training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_vision.classification.data_config import Packed, Share
from mamba_vision.video.config import Short


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClipFolder:
    """A folder ``split/class/clip``, a clip being a video file or a folder of frames."""

    kind: Literal["folder"] = "folder"
    """Which form of data this is."""
    path: Path
    """Holds ``train``, ``val`` and ``test``; of the last two one may be missing."""
    check: Literal["open", "all"] = "open"
    """Clips that cannot be opened are left out, named and counted at the start. ``all`` decodes
    every frame once for it, which also finds those that are cut off."""


Source = Annotated[ClipFolder | Packed, Field(discriminator="kind")]
"""Labelled clips: in a folder, or arrays uint8 ``(n, T, H, W[, C])`` in one ``.npz``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClipAugment:
    """How training clips are varied, all frames of one alike; the defaults change nothing."""

    moments: bool = True
    """Take a random frame of each part of the clip, not the middle one."""
    crop: Literal["none", "pad", "resized"] = "none"
    """``pad``: move by up to ``pad`` pixels; ``resized``: a random part, enlarged."""
    pad: Annotated[int, Field(ge=1)] = 4
    """Pixels, for ``crop="pad"``."""
    scale: tuple[float, float] = (0.3, 1.0)
    """Smallest and largest part of the area, for ``crop="resized"``."""
    flip: bool = False
    """Mirror half of the clips; not where left and right are what is asked."""
    label_smoothing: Share = 0.0
    """Part of the target that is spread over all classes."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class VideoData:
    """Labelled clips to train a classifier on."""

    source: Source
    """Where they lie."""
    val_share: Share = 0.1
    """Part of the training clips of each class that a model is chosen by, where the source has
    no ``val``."""
    augment: ClipAugment = ClipAugment()
    """How training clips are varied."""
    short: Short = "repeat"
    """What becomes of a clip with fewer frames than the model asks for."""
    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
    """Side of the middle that is kept in evaluation, as a share of the frame, when it is not of
    the model's size."""
