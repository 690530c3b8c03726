"""Segment images with a trained model: in memory, in files, in folders."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from mamba_core.atomic import new_file, refuse_taken
from mamba_registry import TaskSpec
from mamba_vision.images import image_files, to_pixels
from mamba_vision.segmentation.config import SegmenterPredict
from mamba_vision.segmentation.model import Segmenter

Progress = Callable[[str, int, int], None]
"""``(file name, images done, images in all)``."""
_GOLDEN = 0.618034
"""Turn of the hue from class to class: neighbours differ, and no number of classes is assumed."""


def palette(count: int) -> NDArray[np.uint8]:
    """Return a colour per class, uint8 ``(count, 3)``."""
    colours = [
        colorsys.hsv_to_rgb(k * _GOLDEN % 1, 0.75, (1.0, 0.7, 0.45)[k % 3]) for k in range(count)
    ]
    return np.round(255 * np.array(colours)).astype(np.uint8)


class ImageSegmenter:
    """A trained segmentation model for daily use: images in memory with :meth:`segment`, files
    and folders with :meth:`run`. Images of another size are fitted to the model's, both sides by
    themselves, and the answer is brought back.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.segmentation.config.SegmenterPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    def __init__(
        self,
        model: Segmenter,
        config: SegmenterPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config or SegmenterPredict()
        seen = model.config
        self.labels = seen.labels or tuple(str(k) for k in range(seen.num_classes))
        self.palette = palette(seen.num_classes)
        self.fit = v2.Resize(list(seen.image_size), antialias=True)
        self.normalise = v2.Normalize(list(seen.mean), list(seen.std))

    def segment(self, image: Any) -> NDArray[np.uint8]:
        """Return the class of every pixel, uint8 ``(H, W)``.

        :param image: a path, a PIL image, an array ``(H, W[, C])`` or a tensor ``(C, H, W)``:
            integers are 8-bit, floats in 0 to 1.
        :raises ValueError: for an image smaller than a patch, of another number of channels, or
            with values that are not finite.
        """
        return self._segment(to_pixels(image, self.model.config.in_chans))

    @torch.inference_mode()
    def _segment(self, pixels: Tensor) -> NDArray[np.uint8]:
        height, width = pixels.shape[1:]
        smallest = self.model.backbone.levels[0].stride
        if min(height, width) < smallest:
            raise ValueError(
                f"the image is {height}x{width} pixels, smaller than one patch of {smallest}: "
                "enlarge it first"
            )
        images = self.normalise(self.fit(pixels))[None].to(self.device)
        logits = self.model(images)["logits"].float()
        if logits.shape[2:] != (height, width):
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        return logits[0].argmax(0).to(torch.uint8).cpu().numpy()

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Write ``out/<name>_mask.png`` (values are classes, shown in colours) and, with
        ``overlay``, ``out/<name>_overlay.png`` per image file.

        Files that cannot be read or are too small are named in the rows, and left out.

        :param overwrite: replace results that are there.
        :returns: per file ``file, mask[, overlay], shares`` (class name -> share of the pixels,
            largest first), or ``file, error``.
        :raises FileNotFoundError: for an input that does not exist, or a folder without images.
        :raises FileExistsError: when results are there and ``overwrite`` is not set.
        :raises ValueError: when two files would be written as one.
        """
        files = image_files([Path(path) for path in inputs])
        kinds = ("mask", "overlay") if self.config.overlay else ("mask",)
        targets = [{k: Path(out) / f"{file.stem}_{k}.png" for k in kinds} for file in files]
        refuse_taken([t for each in targets for t in each.values()], overwrite=overwrite)
        rows = []
        for done, (file, target) in enumerate(zip(files, targets, strict=True), 1):
            rows.append(self._write(file, target))
            if progress is not None:
                progress(file.name, done, len(files))
        return rows

    def _write(self, file: Path, targets: dict[str, Path]) -> dict[str, Any]:
        try:
            pixels = to_pixels(file, self.model.config.in_chans)
            mask = self._segment(pixels)
        except (ValueError, OSError) as error:
            return {"file": str(file), "error": str(error)}
        picture = Image.fromarray(mask)
        picture.putpalette(self.palette.tobytes())
        made = {"mask": picture, "overlay": self._overlay(pixels, mask)}
        for name, target in targets.items():
            with new_file(target) as temporary, temporary.open("wb") as binary:
                made[name].save(binary, "png")
        counts = np.bincount(mask.ravel(), minlength=len(self.labels)) / mask.size
        shares = {self.labels[k]: float(counts[k]) for k in np.argsort(-counts) if counts[k]}
        return {"file": str(file), **{k: str(v) for k, v in targets.items()}, "shares": shares}

    def _overlay(self, pixels: Tensor, mask: NDArray[np.uint8]) -> Image.Image:
        below = 255 * pixels.expand(3, -1, -1).movedim(0, -1).numpy()
        alpha = self.config.alpha
        return Image.fromarray(
            np.round((1 - alpha) * below + alpha * self.palette[mask]).astype(np.uint8)
        )
