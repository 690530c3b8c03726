"""Typed configs of images with masks: where they lie, and how they are varied in training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pairs:
    """A folder of images and a folder of masks; files with the same stem belong together."""

    images: Path
    """Image files, in subfolders too."""
    masks: Path
    """One-channel files (grey, palette or 16-bit PNG) that hold class numbers, laid out alike."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MaskAugment:
    """How training images and their masks are varied together; the defaults change nothing."""

    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0, le=1)]] | None = None
    """A random part, enlarged: smallest and largest share of the area; None takes the whole."""
    flip: bool = False
    """Mirror half of the images."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest change of brightness, contrast and saturation, as a share; masks stay."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MaskData:
    """Images with masks to train a segmentation model on."""

    train: Pairs
    """To learn from."""
    val: Pairs | None = None
    """To choose a model by; None holds a share of ``train`` out."""
    test: Pairs | None = None
    """To report; None takes ``val``."""
    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Part of ``train`` that is held out where there is no ``val``."""
    ignore: tuple[Annotated[int, Field(ge=0)], ...] = (255,)
    """Values in the masks that neither train nor count, such as void."""
    augment: MaskAugment = MaskAugment()
    """How training images are varied."""
    check: Literal["header", "all"] = "header"
    """Files that cannot be opened are left out, named and counted at the start. ``all`` decodes
    every file once for it, and looks for unknown labels in all masks."""
