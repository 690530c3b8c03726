"""Images and their masks, read pair by pair from two folders."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mamba_vision.images import SUFFIXES, UNREADABLE, read_image
from mamba_vision.segmentation.config import IGNORE
from mamba_vision.segmentation.data_config import Pairs

_NAMED = 5
"""Files that a message names."""
_MODES = ("1", "L", "P", "I", "I;16")
"""Of PIL, for images of one channel whose values are class numbers."""


class MaskedImages:
    """Images with masks.

    ``skipped`` names what was left out, with the reason: files that cannot be opened, images
    without a mask, masks of another size than their image.

    :param pairs: the two folders.
    :param num_classes: labels are 0 to ``num_classes - 1``.
    :param ignore: values in the masks that do not count.
    :param whole: decode every file now, instead of its header only.
    :raises FileNotFoundError: for a folder that is not there, or holds no pair.
    :raises ValueError: with ``whole``, for masks with unknown labels.
    """

    def __init__(
        self, pairs: Pairs, *, num_classes: int, ignore: Sequence[int], whole: bool = False
    ) -> None:
        self.num_classes, self.ignore = num_classes, tuple(ignore)
        images, masks = _by_name(pairs.images), _by_name(pairs.masks)
        self.files: list[tuple[Path, Path]] = []
        skipped: list[str] = []
        for name, image in images.items():
            reason = self._fault(image, masks.get(name), whole)
            if reason:
                skipped.append(f"{image} ({reason})")
            else:
                self.files.append((image, masks[name]))
        self.skipped = tuple(skipped)
        if skipped:
            more = f" and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
            warnings.warn(
                f"{len(skipped)} images are left out: {', '.join(skipped[:_NAMED])}{more}",
                stacklevel=3,
            )
        if not self.files:
            raise FileNotFoundError(
                f"{pairs.images} and {pairs.masks} hold no image with a mask of the same name"
            )

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int, in_chans: int) -> tuple[Tensor, Tensor]:
        """Return the pixels, uint8 ``(in_chans, H, W)``, and the mask, int64 ``(H, W)``: classes
        and :data:`IGNORE`.

        :raises ValueError: for a file that is cut off, and a mask with unknown labels.
        """
        image, mask = self.files[index]
        try:
            pixels = read_image(image, in_chans)
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{error}: take it away, or set data.check='all' to leave such files out"
            ) from error
        return pixels, self.classes_of(mask)

    def classes_of(self, path: Path) -> Tensor:
        """Read a mask, int64 ``(H, W)``: classes and :data:`IGNORE`; see :meth:`read`."""
        values = torch.from_numpy(_read_mask(path))
        void = torch.isin(values, torch.tensor(self.ignore, dtype=torch.int64))
        unknown = values[~void & ((values < 0) | (values >= self.num_classes))].unique().tolist()
        if unknown:
            shown = ", ".join(map(str, unknown[:_NAMED])) + (", ..." if unknown[_NAMED:] else "")
            raise ValueError(
                f"{path} has the labels {shown}; the model knows 0 to {self.num_classes - 1}, and "
                f"{self.ignore} are ignored: set model.num_classes, or add them to data.ignore"
            )
        return values.masked_fill(void, IGNORE)

    def _fault(self, image: Path, mask: Path | None, whole: bool) -> str:
        """Return why a pair cannot be used, or nothing."""
        if mask is None:
            return "no mask of its name"
        sizes = []
        for file in (image, mask):
            try:
                with Image.open(file) as opened:
                    sizes.append(opened.size)
                    if whole:
                        opened.load()
            except UNREADABLE:
                return f"{file.name} cannot be read as an image"
        if sizes[0] != sizes[1]:
            return f"{sizes[0]} pixels, its mask {sizes[1]}"
        if whole:
            self.classes_of(mask)
        return ""


def _read_mask(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise ValueError(
                    f"{path} is {image.mode}: a mask has one channel with class numbers; convert "
                    "colours to numbers first"
                )
            return np.asarray(image).astype(np.int64)
    except UNREADABLE as error:
        raise ValueError(f"{path} cannot be read as a mask ({error})") from error


def _by_name(folder: Path) -> dict[str, Path]:
    """Image files below a folder by their path in it, without the suffix."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one of images and one of masks")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}
