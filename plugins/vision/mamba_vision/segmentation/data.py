"""Training, validation and test images of ``vision-seg``.

Images and masks go through one transform of torchvision (v2), which knows them apart: images are
resized smoothly, masks by the nearest pixel. A sample is a function of (seed, epoch, index) only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from mamba_vision.seeding import drawn_from
from mamba_vision.segmentation.config import SegmenterConfig
from mamba_vision.segmentation.data_config import MaskAugment, MaskData, Pairs
from mamba_vision.segmentation.pairs import MaskedImages

Sample = dict[str, Tensor]
_SPLIT_SEED = 0
"""Of the training images held out for validation, whatever the seed of the training."""


class MaskDataset:
    """Images with masks for ``vision-seg``.

    :param data: where they lie.
    :param model: size, channels, normalisation and number of classes.
    :raises FileNotFoundError: for folders that are not there or hold no pair.
    :raises ValueError: when too few images are there to hold one out.
    """

    def __init__(self, data: MaskData, model: SegmenterConfig) -> None:
        self.data, self.model = data, model
        self.parts = {"train": self._open(data.train)}
        for name, pairs in (("val", data.val), ("test", data.test)):
            if pairs is not None:
                self.parts[name] = self._open(pairs)
        count = len(self.parts["train"])
        self._kept = self._held = np.arange(count)
        if "val" not in self.parts:
            if count < 2:
                raise ValueError("one image cannot be split: give data.val, or more images")
            order = np.random.default_rng(_SPLIT_SEED).permutation(count)
            held = min(max(round(data.val_share * count), 1), count - 1)
            self._held, self._kept = np.sort(order[:held]), np.sort(order[held:])

    def train(self, *, seed: int) -> Split:
        """Return the images to learn from, varied as ``augment`` says."""
        return Split(self.parts["train"], self._kept, self.model, self.data.augment, seed)

    def val(self, *, seed: int) -> Split:
        """Return the images to choose a model by: the same ones for every ``seed``."""
        if "val" in self.parts:
            return self._whole("val")
        return Split(self.parts["train"], self._held, self.model)

    def test(self, *, seed: int) -> Split:
        """Return the images to report: the same ones for every ``seed``."""
        return self._whole("test") if "test" in self.parts else self.val(seed=seed)

    def _whole(self, name: str) -> Split:
        return Split(self.parts[name], np.arange(len(self.parts[name])), self.model)

    def _open(self, pairs: Pairs) -> MaskedImages:
        return MaskedImages(
            pairs,
            num_classes=self.model.num_classes,
            ignore=self.data.ignore,
            whole=self.data.check == "all",
        )


class Split:
    """One part of the data.

    :param places: which pairs of ``source``.
    :param augment: how they are varied; the defaults do not.
    :param seed: of the variation.
    """

    def __init__(
        self,
        source: MaskedImages,
        places: Sequence[int] | np.ndarray,
        model: SegmenterConfig,
        augment: MaskAugment = MaskAugment(),  # noqa: B008 (frozen)
        seed: int = 0,
    ) -> None:
        self.source, self.places, self.model, self.seed = source, places, model, seed
        self.transform = transform(augment, model)

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """Return ``images`` float32 ``(in_chans, H, W)``, normalised, and ``masks`` int64
        ``(H, W)``, of the model's size.

        :raises ValueError: for a file that is cut off, and a mask with unknown labels.
        """
        pixels, mask = self.source.read(int(self.places[index]), self.model.in_chans)
        with drawn_from(self.seed, epoch, index):
            image, labels = self.transform(tv_tensors.Image(pixels), tv_tensors.Mask(mask))
        # plain tensors: a batch goes to losses that know nothing of torchvision
        return {
            "images": image.as_subclass(torch.Tensor),
            "masks": labels.as_subclass(torch.Tensor),
        }


def transform(augment: MaskAugment, model: SegmenterConfig) -> v2.Transform:
    """Return torchvision's transform of ``(Image uint8, Mask int64)`` to the model's size,
    the image normalised."""
    size = list(model.image_size)
    steps: list[v2.Transform] = [v2.Resize(size, antialias=True)]
    if augment.scale is not None:
        steps = [v2.RandomResizedCrop(size, scale=augment.scale, antialias=True)]
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip())
    if augment.colour:
        steps.append(v2.ColorJitter(augment.colour, augment.colour, augment.colour))
    to_float = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
    return v2.Compose([*steps, to_float, v2.Normalize(list(model.mean), list(model.std))])
