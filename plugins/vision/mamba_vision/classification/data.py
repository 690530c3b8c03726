"""Training, validation and test images of ``vision-cls``.

A sample is a function of (seed, epoch, index) only: random changes draw from a generator seeded
by them, and a mixed image finds its partner by them too.
"""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from mamba_vision.classification.config import ClassifierConfig
from mamba_vision.classification.data_config import Augment, ImageData
from mamba_vision.classification.sources import Images, open_source
from mamba_vision.images import Preparation
from mamba_vision.labelling.dataset import LabelledDataset
from mamba_vision.labelling.split import (
    Sample,
    Split,
    make_sample,
    one_hot,
    smoothed,
)
from mamba_vision.seeding import drawn_from


class ImageDataset(LabelledDataset[Images]):
    """Labelled images of ``vision-cls``.

    :param data: where they lie.
    :param model: size, channels, normalisation and number of classes.
    :raises ValueError: when the classes of the data are not those of the model.
    """

    def __init__(self, data: ImageData, model: ClassifierConfig) -> None:
        self.data, self.model = data, model
        super().__init__(open_source(data.source), model, data.val_share)

    def plain(self, part: Images, places: NDArray) -> Split:
        """See :meth:`LabelledDataset.plain`."""
        return PlainImages(part, places, self.data, self.model)

    def varied(self, part: Images, places: NDArray, seed: int) -> Split:
        """See :meth:`LabelledDataset.varied`."""
        return VariedImages(part, places, self.data, self.model, seed)


class PlainImages:
    """Images as they are, for validation and test."""

    def __init__(
        self, images: Images, places: NDArray, data: ImageData, model: ClassifierConfig
    ) -> None:
        self.images, self.places, self.model = images, places, model
        self.prepare = Preparation(model, data.crop)

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        place = int(self.places[index])
        image = self.prepare(self.images.read(place, self.model.in_chans))
        label = int(self.images.labels[place])
        return make_sample("images", image, label, self.model.num_classes)


class VariedImages:
    """Training images: changed at random, perhaps mixed with another one."""

    def __init__(
        self,
        images: Images,
        places: NDArray,
        data: ImageData,
        model: ClassifierConfig,
        seed: int,
    ) -> None:
        self.images, self.places, self.model, self.seed = images, places, model, seed
        self.augment = data.varied()
        self.vary = varying(self.augment, model)
        self.mix = _mixing(self.augment, model.num_classes)

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        with drawn_from(self.seed, epoch, index):
            image, label = self._varied(int(self.places[index]))
            target = one_hot(label, self.model.num_classes)
            if self.mix is not None:
                partner = int(torch.randint(len(self.places), ()))
                other, second = self._varied(int(self.places[partner]))
                pair = self.mix(torch.stack([image, other]), torch.stack([label, second]))
                image, target = pair[0][0], pair[1][0]
        target = smoothed(target, self.augment.label_smoothing)
        return {"images": image, "labels": label, "targets": target}

    def _varied(self, place: int) -> tuple[Tensor, Tensor]:
        pixels = self.images.read(place, self.model.in_chans)
        return self.vary(pixels), torch.tensor(int(self.images.labels[place]))


def varying(augment: Augment, model: ClassifierConfig) -> v2.Transform:
    """Return torchvision's transforms for training images, uint8 -> normalised float32."""
    size = list(model.image_size)
    steps: list[torch.nn.Module] = []
    if augment.crop == "resized":
        steps.append(v2.RandomResizedCrop(size, scale=augment.scale, antialias=True))
    else:
        steps.append(v2.Resize(size, antialias=True))
    if augment.crop == "pad":
        steps.append(v2.RandomCrop(size, padding=augment.pad))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip())
    if augment.rand_augment is not None:
        chosen = augment.rand_augment
        steps.append(v2.RandAugment(chosen.num_ops, chosen.magnitude))
    steps += [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(model.mean), list(model.std)),
    ]
    if augment.erasing:
        steps.append(v2.RandomErasing(augment.erasing))
    return v2.Compose(steps)


def _mixing(augment: Augment, classes: int) -> v2.Transform | None:
    mixes: list[v2.Transform] = []
    if augment.mixup:
        mixes.append(v2.MixUp(alpha=augment.mixup, num_classes=classes))
    if augment.cutmix:
        mixes.append(v2.CutMix(alpha=augment.cutmix, num_classes=classes))
    return v2.RandomChoice(mixes) if len(mixes) > 1 else next(iter(mixes), None)
