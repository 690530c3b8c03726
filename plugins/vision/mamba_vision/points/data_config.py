"""Typed configs of labelled clouds: where they lie, and how they are varied in training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_vision.classification.data_config import Share


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CloudArrays:
    """Clouds of one size in ``.npz`` or HDF5 files, as ModelNet40 and ScanObjectNN come."""

    kind: Literal["arrays"] = "arrays"
    """Which form of data this is."""
    train: tuple[Path, ...]
    """Files with the clouds to learn from."""
    test: tuple[Path, ...] = ()
    """Files with those to report; empty where ``is_test`` tells them apart."""
    points: str = "data"
    """Name of the array of clouds, ``(n, points, columns)``."""
    labels: str = "label"
    """Name of the array of classes, int ``(n,)`` or ``(n, 1)``."""
    is_test: str | None = None
    """Name of a bool array ``(n,)`` that marks the test clouds of the training files."""
    names: str | None = None
    """Name of an array with the names of the classes; None numbers them."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Places are multiplied by it: 0.01 makes metres of centimetres."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CloudFolder:
    """A folder ``split/class/file`` with one cloud in each ``.npy``, ``.npz`` or HDF5 file."""

    kind: Literal["folder"] = "folder"
    """Which form of data this is."""
    path: Path
    """Holds ``train``, ``val`` and ``test``; of the last two one may be missing."""


Source = Annotated[CloudArrays | CloudFolder, Field(discriminator="kind")]
"""Labelled clouds in one of two forms."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CloudAugment:
    """How training clouds are varied; the defaults change nothing."""

    resample: bool = False
    """Draw other points of clouds with more than the model takes, in another order."""
    rotate: bool = False
    """Turn about the third axis, by any angle."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (1.0, 1.0)
    """Least and largest factor of the places."""
    shift: Annotated[float, Field(ge=0)] = 0.0
    """Farthest move along each axis, behind the normalisation."""
    jitter: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of each place's own move, behind the normalisation."""
    label_smoothing: Share = 0.0
    """Part of the target that is spread over all classes."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PointsData:
    """Labelled clouds to train a classifier on."""

    source: Source
    """Where they lie."""
    val_share: Share = 0.1
    """Part of the training clouds of each class that a model is chosen by, where the source has
    no ``val``."""
    augment: CloudAugment = CloudAugment()
    """How training clouds are varied."""
