"""Feature maps of image files, one ``.npz`` per file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mamba_core.atomic import new_file, refuse_taken
from mamba_registry import TaskSpec
from mamba_vision.features.config import BackbonePredict
from mamba_vision.features.model import FeatureExtractor
from mamba_vision.images import Preparation, image_files, to_pixels

Progress = Callable[[str, int, int], None]
"""``(file name, images done, images in all)``."""


class FeatureWriter:
    """A feature extractor for files and folders.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.features.config.BackbonePredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    def __init__(
        self,
        model: FeatureExtractor,
        config: BackbonePredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config or BackbonePredict()
        self.prepare = Preparation(model.config, self.config.crop)

    @torch.inference_mode()
    def features(self, images: Sequence[Any]) -> dict[str, Tensor]:
        """Return maps and pooled features of images in memory, on the CPU.

        :param images: paths, PIL images, arrays ``(H, W[, C])`` or tensors ``(C, H, W)``, of any
            sizes: integers are 8-bit, floats in 0 to 1. At least one.
        :returns: see :meth:`FeatureExtractor.forward`; the batch is the images.
        :raises ValueError: for no image, another number of channels, or values that are not finite.
        """
        if not images:
            raise ValueError("no images: give at least one")
        channels = self.model.config.in_chans
        size = self.config.batch_size
        found: list[dict[str, Tensor]] = []
        for start in range(0, len(images), size):
            group = images[start : start + size]
            batch = torch.stack([self.prepare(to_pixels(image, channels)) for image in group])
            found.append(self.model(batch.to(self.device)))
        return {name: torch.cat([each[name].float().cpu() for each in found]) for name in found[0]}

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Write ``out/<name>.npz`` per image file: float32 ``map0 (C, h, w)``, ..., ``pooled``.

        Files that cannot be read are named in the rows, and left out.

        :param overwrite: replace results that are there.
        :returns: per file ``file, features, channels, strides``, or ``file, error``.
        :raises FileNotFoundError: for an input that does not exist, or a folder without images.
        :raises FileExistsError: when results are there and ``overwrite`` is not set.
        :raises ValueError: when two files would be written as one.
        """
        files = image_files([Path(path) for path in inputs])
        targets = [Path(out) / f"{file.stem}.npz" for file in files]
        refuse_taken(targets, overwrite=overwrite)
        rows: list[dict[str, Any]] = []
        for done, (file, target) in enumerate(zip(files, targets, strict=True), 1):
            try:
                found = self.features([file])
            except (ValueError, OSError) as error:
                rows.append({"file": str(file), "error": str(error)})
            else:
                arrays: dict[str, Any] = {name: value[0].numpy() for name, value in found.items()}
                with new_file(target) as temporary, temporary.open("wb") as binary:
                    np.savez(binary, **arrays)
                rows.append(self._row(file, target))
            if progress is not None:
                progress(file.name, done, len(files))
        return rows

    def _row(self, file: Path, target: Path) -> dict[str, Any]:
        return {
            "file": str(file),
            "features": str(target),
            "channels": list(self.model.channels),
            "strides": list(self.model.strides),
        }
