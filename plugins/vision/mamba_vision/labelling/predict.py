"""Classify samples with a trained model: in memory, in files, in folders."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_core.atomic import new_file, refuse_taken
from mamba_registry import TaskSpec
from mamba_vision.labelling.config import LabelPredict
from mamba_vision.labelling.split import numbered

Progress = Callable[[str, int, int], None]
"""``(file name, samples done, samples in all)``."""
_COLUMNS = ("file", "label", "probability", "error")
"""Of the table of results."""


@dataclass(frozen=True)
class Answer:
    """What a model says about one sample, most probable class first."""

    labels: tuple[str, ...]
    """Names of the classes, or their numbers as text."""
    probabilities: tuple[float, ...]
    """Of these classes; over all classes they add up to 1."""


class Labeller(ABC):
    """A trained classifier for daily use: samples in memory with :meth:`classify` and
    :meth:`features`, files and folders with :meth:`run`.

    A sample's answer does not depend on what stands beside it. Subclasses say how one is read.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.labelling.config.LabelPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    samples: ClassVar[str]
    """What a sample is called, in the plural."""

    def __init__(
        self,
        model: Any,
        config: LabelPredict,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.spec, self.device = model, spec, torch.device(device)
        self.config = config
        self.labels = model.config.labels or numbered(model.num_classes)

    @abstractmethod
    def read(self, sample: Any) -> Tensor:
        """Return what the model takes of one sample, without the batch axis.

        :raises ValueError: for a sample that cannot be read or taken.
        """

    @abstractmethod
    def files(self, inputs: Sequence[Path]) -> list[Path]:
        """Return the samples that inputs name, folders taken apart.

        :raises FileNotFoundError: for what does not exist, and a folder without samples.
        """

    def classify(self, samples: Iterable[Any], *, progress: Progress | None = None) -> list[Answer]:
        """Return an answer per sample.

        :param samples: a list of whatever :meth:`read` takes.
        :param progress: called after every batch with the word for samples, done, and in all.
        :raises ValueError: for a sample that cannot be read or taken.
        """
        answers: list[Answer] = []
        for logits, _ in self._batches(self._listed(samples), progress):
            answers += [self._answer(row) for row in logits]
        return answers

    def features(
        self, samples: Iterable[Any], *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return the pooled features, float32 ``(samples, num_features)``; see :meth:`classify`."""
        pooled = [
            each.float().numpy() for _, each in self._batches(self._listed(samples), progress)
        ]
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
        """Classify files and what folders hold; write ``out/predictions.csv``.

        Files that cannot be read are named in the rows and in the table, and left out. With
        ``features=True`` ``out/features.npy`` holds float32 ``(files read, num_features)``.

        :param overwrite: replace results that are there.
        :returns: per file ``file, label, probability, labels, probabilities``, or ``file, error``.
        :raises FileNotFoundError: for an input that does not exist, or a folder without samples.
        :raises FileExistsError: when results are there and ``overwrite`` is not set.
        """
        given = [Path(path) for path in inputs]
        for path in given:
            if not path.exists():
                raise FileNotFoundError(f"{path} does not exist: give {self.samples} or folders")
        files = self.files(given)
        table, arrays = Path(out) / "predictions.csv", Path(out) / "features.npy"
        refuse_taken([table, arrays] if self.config.features else [table], overwrite=overwrite)
        rows: list[dict[str, Any]] = []
        features: list[Tensor] = []
        for number, group in enumerate(groups(files, self.config.batch_size)):
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
        read: dict[Path, Tensor] = {}
        errors: dict[Path, str] = {}
        for file in files:
            try:
                read[file] = self.read(file)
            except (ValueError, OSError) as error:
                errors[file] = str(error)
        pooled = torch.zeros(0, self.model.num_features)
        answers: dict[Path, Answer] = {}
        if read:
            logits, pooled = self._forward(list(read.values()))
            answers = dict(zip(read, map(self._answer, logits), strict=True))
        rows = [
            self._row(file, answers[file])
            if file in answers
            else {"file": str(file), "error": errors[file]}
            for file in files
        ]
        return rows, pooled

    def _row(self, file: Path, answer: Answer) -> dict[str, Any]:
        return {
            "file": str(file),
            "label": answer.labels[0],
            "probability": answer.probabilities[0],
            "labels": list(answer.labels),
            "probabilities": list(answer.probabilities),
        }

    def _listed(self, samples: Iterable[Any]) -> list[Any]:
        if isinstance(samples, str | Path):  # which has letters, not samples
            raise ValueError(f"{samples} is one of the {self.samples}: give a list, [{samples!r}]")
        return list(samples)

    def _batches(
        self, samples: Sequence[Any], progress: Progress | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and pooled features of each batch, on the CPU."""
        done = 0
        for group in groups(samples, self.config.batch_size):
            yield self._forward([self.read(sample) for sample in group])
            done += len(group)
            if progress is not None:
                progress(self.samples, done, len(samples))

    @torch.inference_mode()
    def _forward(self, read: list[Tensor]) -> tuple[Tensor, Tensor]:
        features = self.model.forward_features(torch.stack(read).to(self.device))
        pooled = self.model.forward_head(features, pre_logits=True)
        return self.model.head(pooled).float().cpu(), pooled.float().cpu()

    def _answer(self, logits: Tensor) -> Answer:
        best = logits.softmax(-1).topk(min(self.config.top, len(logits)))
        names = tuple(self.labels[k] for k in best.indices.tolist())
        return Answer(names, tuple(best.values.tolist()))


def groups(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Cut a sequence into parts of ``size``, the last one perhaps shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
