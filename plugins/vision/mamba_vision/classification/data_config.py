"""Typed configs of labelled images: where they lie, and how they are varied in training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT

Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Packed:
    """Arrays in one ``.npz``: ``x_train, y_train, x_test, y_test``."""

    kind: Literal["npz"] = "npz"
    """Which form of data this is."""
    path: Path
    """Images uint8 ``(n, H, W)`` or ``(n, H, W, C)``, labels int ``(n,)``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Folder:
    """A folder ``split/class/file``, as ImageNet's and torchvision's ImageFolder."""

    kind: Literal["folder"] = "folder"
    """Which form of data this is."""
    path: Path
    """Holds ``train``, ``val`` and ``test``; of the last two one may be missing."""
    check: Literal["header", "all"] = "header"
    """Files that cannot be opened are left out, named and counted at the start. ``all`` decodes
    every file once for it, which also finds those that are cut off."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tar:
    """A tar file (packed or not) of ``split/class/file``; its files are kept in memory."""

    kind: Literal["tar"] = "tar"
    """Which form of data this is."""
    path: Path
    """The names in it end in ``train/<class>/<file>`` and ``test/<class>/<file>``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Torchvision:
    """A data set of torchvision that has a training and a test part."""

    kind: Literal["torchvision"] = "torchvision"
    """Which form of data this is."""
    name: Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100"]
    """Its class in ``torchvision.datasets``."""
    root: Path
    """Folder it lies in, or is fetched into."""
    download: bool = False
    """Fetch it when it is not there."""


Source = Annotated[Packed | Folder | Tar | Torchvision, Field(discriminator="kind")]
"""Labelled images in one of four forms."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RandAugment:
    """Random changes of colour and shape (Cubuk et al., 1909.13719), by torchvision."""

    num_ops: Annotated[int, Field(ge=1)] = 2
    """Changes one after another."""
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """How strong, of 30."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Augment:
    """How training images are varied; the defaults change nothing."""

    crop: Literal["none", "pad", "resized"] = "none"
    """``pad``: move by up to ``pad`` pixels; ``resized``: a random part, enlarged."""
    pad: Annotated[int, Field(ge=1)] = 4
    """Pixels, for ``crop="pad"``."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest part of the area, for ``crop="resized"``."""
    flip: bool = False
    """Mirror half of the images."""
    rand_augment: RandAugment | None = None
    """Random changes of colour and shape; None makes none."""
    erasing: Share = 0.0
    """Share of images with a random rectangle erased (Zhong et al., 1708.04896)."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Of the Beta distribution of the shares of two images (Zhang et al., 1710.09412); 0 is off."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """Of that of the area pasted from another image (Yun et al., 1905.04899); 0 is off. With
    mixup too, each image gets one of both."""
    label_smoothing: Share = 0.0
    """Part of the target that is spread over all classes."""


DEIT = Augment(
    crop="resized",
    flip=True,
    rand_augment=RandAugment(),
    erasing=0.25,
    mixup=0.8,
    cutmix=1.0,
    label_smoothing=0.1,
)
"""The recipe of DeiT, which Vim and VMamba were trained with."""
SMALL = Augment(crop="pad", flip=True, rand_augment=RandAugment(), label_smoothing=0.1)
"""For CIFAR."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageData:
    """Labelled images to train a classifier on."""

    source: Source
    """Where they lie."""
    val_share: Share = 0.1
    """Part of the training images of each class that a model is chosen by, where the source has
    no ``val``."""
    augment: Augment | Literal["none", "small", "deit"] = "none"
    """How training images are varied, or the name of a ready recipe: ``small`` for CIFAR,
    ``deit`` for ImageNet."""
    crop: Annotated[float, Field(gt=0, le=1)] = 0.875
    """Side of the middle that is kept in evaluation, as a share of the image, when it is not of
    the model's size."""

    def varied(self) -> Augment:
        """Return the recipe itself."""
        if isinstance(self.augment, Augment):
            return self.augment
        return {"none": Augment(), "small": SMALL, "deit": DEIT}[self.augment]
