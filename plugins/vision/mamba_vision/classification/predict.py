"""Classify images with a trained model: in memory, in files, in folders."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_core.atomic import new_file, refuse_taken
from mamba_registry import TaskSpec
from mamba_vision.classification.config import ClassifierPredict
from mamba_vision.classification.model import ImageClassifier
from mamba_vision.images import Preparation, image_files, to_pixels

Progress = Callable[[str, int, int], None]
"""``(file name, images done, images in all)``."""
_COLUMNS = ("file", "label", "probability", "error")
"""Of the table of results."""


@dataclass(frozen=True)
class Answer:
    """What a model says about one image, most probable class first."""

    labels: tuple[str, ...]
    """Names of the classes, or their numbers as text."""
    probabilities: tuple[float, ...]
    """Of these classes; over all classes they add up to 1."""


class ImageLabeller:
    """A trained classifier for daily use: images in memory with :meth:`classify` and
    :meth:`features`, files and folders with :meth:`run`.

    An image's answer does not depend on what stands beside it.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.classification.config.ClassifierPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    def __init__(
        self,
        model: ImageClassifier,
        config: ClassifierPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config or ClassifierPredict()
        self.prepare = Preparation(model.config, self.config.crop)
        count = model.num_classes
        self.labels = model.config.labels or tuple(str(k) for k in range(count))

    def classify(self, images: Iterable[Any], *, progress: Progress | None = None) -> list[Answer]:
        """Return an answer per image.

        :param images: paths, PIL images, arrays ``(H, W[, C])`` or tensors ``(C, H, W)``, of any
            sizes: integers are 8-bit, floats in 0 to 1.
        :param progress: called after every batch with ``("images", done, in all)``.
        :raises ValueError: for an image of another number of channels, or with values that are
            not finite.
        """
        answers: list[Answer] = []
        for logits, _ in self._batches(list(images), progress):
            answers += [self._answer(row) for row in logits]
        return answers

    def features(
        self, images: Iterable[Any], *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return the pooled features, float32 ``(images, num_features)``; see :meth:`classify`."""
        pooled = [each.float().numpy() for _, each in self._batches(list(images), progress)]
        empty = np.zeros((0, self.model.num_features), dtype=np.float32)
        return np.concatenate(pooled) if pooled else empty

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Classify files and the image files of folders; write ``out/predictions.csv``.

        Files that cannot be read are named in the rows and in the table, and left out. With
        ``features=True`` ``out/features.npy`` holds float32 ``(files read, num_features)``.

        :param overwrite: replace results that are there.
        :returns: per file ``file, label, probability, labels, probabilities``, or ``file, error``.
        :raises FileNotFoundError: for an input that does not exist, or a folder without images.
        :raises FileExistsError: when results are there and ``overwrite`` is not set.
        """
        files = image_files([Path(path) for path in inputs])
        for file in files:
            if not file.exists():
                raise FileNotFoundError(f"{file} does not exist: give image files or folders")
        table, arrays = Path(out) / "predictions.csv", Path(out) / "features.npy"
        refuse_taken([table, arrays] if self.config.features else [table], overwrite=overwrite)
        rows: list[dict[str, Any]] = []
        features: list[Tensor] = []
        for number, group in enumerate(_groups(files, self.config.batch_size)):
            found, pooled = self._rows(group)
            rows += found
            features.append(pooled)
            if progress is not None:
                done = number * self.config.batch_size + len(group)
                progress(group[-1].name, done, len(files))
        with new_file(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, _COLUMNS)
            writer.writeheader()
            writer.writerows({name: row.get(name, "") for name in _COLUMNS} for row in rows)
        if self.config.features:
            with new_file(arrays) as temporary, temporary.open("wb") as binary:
                np.save(binary, torch.cat(features).numpy())
        return rows

    def _rows(self, files: Sequence[Path]) -> tuple[list[dict[str, Any]], Tensor]:
        """Rows of a batch of files, those that cannot be read among them; pooled features."""
        pixels: dict[Path, Tensor] = {}
        errors: dict[Path, str] = {}
        for file in files:
            try:
                pixels[file] = to_pixels(file, self.model.config.in_chans)
            except ValueError as error:
                errors[file] = str(error)
        found = list(self._batches(list(pixels.values()), None))
        logits = [row for each, _ in found for row in each]
        answers = dict(zip(pixels, map(self._answer, logits), strict=True))
        rows = [
            self._row(file, answers[file])
            if file in answers
            else {"file": str(file), "error": errors[file]}
            for file in files
        ]
        empty = torch.zeros(0, self.model.num_features)
        return rows, torch.cat([empty, *(pooled for _, pooled in found)])

    def _row(self, file: Path, answer: Answer) -> dict[str, Any]:
        return {
            "file": str(file),
            "label": answer.labels[0],
            "probability": answer.probabilities[0],
            "labels": list(answer.labels),
            "probabilities": list(answer.probabilities),
        }

    @torch.inference_mode()
    def _batches(
        self, images: Sequence[Any], progress: Progress | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and pooled features of each batch, on the CPU."""
        done = 0
        for group in _groups(images, self.config.batch_size):
            channels = self.model.config.in_chans
            batch = torch.stack([self.prepare(to_pixels(image, channels)) for image in group])
            features = self.model.forward_features(batch.to(self.device))
            pooled = self.model.forward_head(features, pre_logits=True)
            yield self.model.head(pooled).float().cpu(), pooled.float().cpu()
            done += len(group)
            if progress is not None:
                progress("images", done, len(images))

    def _answer(self, logits: Tensor) -> Answer:
        best = logits.softmax(-1).topk(min(self.config.top, len(logits)))
        names = tuple(self.labels[k] for k in best.indices.tolist())
        return Answer(names, tuple(best.values.tolist()))


def _groups(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
