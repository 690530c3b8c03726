"""Images from files and memory to tensors, by one way in training and in use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
"""Files that are taken for images."""
UNREADABLE = (OSError, SyntaxError, Image.DecompressionBombError)
"""What PIL raises for files that are no images, cut off, damaged, or say that they are enormous."""
_GREY, _COLOUR = 1, 3
_MODES = {_GREY: "L", _COLOUR: "RGB"}


class SeesImages(Protocol):
    """What a model's config says about its images."""

    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def in_chans(self) -> int: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


def from_pil(image: Image.Image, in_chans: int) -> Tensor:
    """Return pixels uint8 ``(in_chans, H, W)``; grey and colour are converted as needed.

    Of 16-bit grey the upper eight bits are taken.

    :raises ValueError: for a number of channels that image files do not have, and for pixels of
        32 bits, of which nobody knows what white is.
    """
    if in_chans not in _MODES:
        raise ValueError(f"image files have 1 or 3 channels, the model has in_chans = {in_chans}")
    if image.mode in ("I", "F"):
        raise ValueError(
            f"the image has pixels of 32 bits (mode {image.mode}): convert it to 8 bits first, "
            "so that 255 is white"
        )
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))  # PIL would cut off
    return F.pil_to_tensor(image.convert(_MODES[in_chans]))


def read_image(path: Path, in_chans: int) -> Tensor:
    """Read a file as uint8 ``(in_chans, H, W)``.

    :raises FileNotFoundError: when there is none.
    :raises ValueError: for one that is no image, or cut off.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give image files or folders of them")
    try:
        with Image.open(path) as image:
            return from_pil(image, in_chans)
    except (ValueError, *UNREADABLE) as error:
        raise ValueError(f"{path} cannot be read as an image ({error})") from error


def to_pixels(image: Any, in_chans: int) -> Tensor:
    """Return the pixels of an image in memory, float32 in 0 to 1, ``(in_chans, H, W)``.

    :param image: a path; a PIL image; an array ``(H, W)`` or ``(H, W, C)``; a tensor
        ``(C, H, W)``. Integers are 8-bit, floats are in 0 to 1.
    :raises ValueError: for another shape or number of channels, no pixels, values that are not
        finite, floats outside 0 to 1, and integers outside 0 to 255.
    """
    if isinstance(image, str | Path):
        image = read_image(Path(image), in_chans)
    elif isinstance(image, Image.Image):
        image = from_pil(image, in_chans)
    elif isinstance(image, np.ndarray):
        image = torch.from_numpy(np.array(image))
        image = image[None] if image.dim() == 2 else image.movedim(-1, 0)
    if not isinstance(image, Tensor) or image.dim() != 3 or len(image) != in_chans:
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(
            f"image is {found}, expected {in_chans} channels: a tensor ({in_chans}, H, W), an "
            f"array (H, W, {in_chans}), a PIL image or a path"
        )
    if not image.numel():
        raise ValueError(f"image is {tuple(image.shape)}: it has no pixels")
    if image.dtype == torch.uint8:
        return image.float() / 255
    if not image.is_floating_point():
        return _whole_numbers(image) / 255
    if not image.isfinite().all():
        raise ValueError("image holds NaN or infinity: repair it first")
    if image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"image has values from {image.min():g} to {image.max():g}; floats must be in 0 to 1, "
            "not normalised: the predictor does that"
        )
    return image.float()


def _whole_numbers(image: Tensor) -> Tensor:
    values = image.double()
    if image.dtype == torch.bool or values.min() < 0 or values.max() > 255:
        kind = str(image.dtype).removeprefix("torch.")
        raise ValueError(
            f"image is {kind} with values from {values.min():g} to {values.max():g}; integers must "
            "be in 0 to 255: bring it to 8 bits, or to floats in 0 to 1"
        )
    return values.float()


class Preparation:
    """Pixels of any size -> what a model takes: its size, normalised.

    :param crop: side of the middle that is kept, as a share of the image; an image that has the
        model's size already is taken whole.
    """

    def __init__(self, model: SeesImages, crop: float) -> None:
        self.size = model.image_size
        larger = [round(side / crop) for side in self.size]
        self.fit = v2.Compose(
            [v2.Resize(max(larger), antialias=True), v2.CenterCrop(list(self.size))]
        )
        self.normalise = v2.Normalize(list(model.mean), list(model.std))

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 or float ``(..., C, H, W)`` -> float32 ``(..., C, height, width)``."""
        if tuple(pixels.shape[-2:]) != tuple(self.size):
            pixels = self.fit(pixels)
        return self.normalise(F.to_dtype(pixels, torch.float32, scale=True))


def image_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the files, and of folders all image files below them, in the order of names.

    :raises FileNotFoundError: for what does not exist, and a folder without images.
    """
    files: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: give image files or folders of them")
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(p for p in path.rglob("*") if _is_image(p))
        if not found:
            raise FileNotFoundError(f"{path} holds no {', '.join(SUFFIXES)} files")
        files += found
    return files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()
