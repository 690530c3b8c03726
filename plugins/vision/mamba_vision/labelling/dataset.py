"""Labelled data in parts: which samples are learnt from, chosen by and reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mamba_vision.labelling.config import LabelConfig
from mamba_vision.labelling.split import Split, check_classes, hold_out, numbered


class LabelledPart(Protocol):
    """What one part of any labelled data has."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of each sample."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in order."""
        ...


Part = TypeVar("Part", bound=LabelledPart)


class LabelledDataset(ABC, Generic[Part]):
    """Data of a task that names classes.

    :param parts: ``test`` and, where the source has them, ``train`` and ``val``.
    :param model: what it is for.
    :param val_share: of ``train``, to choose a model by where there is no ``val``.
    :raises ValueError: when the classes of the data are not those of the model.
    """

    def __init__(self, parts: Mapping[str, Part], model: LabelConfig, val_share: float) -> None:
        self.parts = parts
        self.classes = parts["test"].classes
        check_classes(self.classes, model)
        self._chosen_by = parts.get("val", parts.get("train", parts["test"]))
        if "train" in parts and "val" not in parts:
            self._kept, self._held = hold_out(parts["train"].labels, val_share)
        else:
            self._kept = np.arange(len(parts["train"].labels) if "train" in parts else 0)
            self._held = np.arange(len(self._chosen_by.labels))

    def prepare(self, model: Any) -> None:
        """Give the names of the classes to a model that has none, so that it answers by them."""
        if model.config.labels or self.classes == numbered(len(self.classes)):
            return
        model.config = replace(model.config, labels=self.classes)
        model.task = replace(model.task, config=model.config)

    @abstractmethod
    def plain(self, part: Part, places: NDArray) -> Split:
        """Return samples of ``part`` as they are."""

    @abstractmethod
    def varied(self, part: Part, places: NDArray, seed: int) -> Split:
        """Return samples of ``part``, changed at random as the data config says."""

    def train(self, *, seed: int) -> Split:
        """Return the samples to learn from, varied as ``augment`` says.

        :raises FileNotFoundError: for data that can only be measured on.
        """
        if "train" not in self.parts:
            raise FileNotFoundError("the data has nothing to learn from: give train/<class>/")
        return self.varied(self.parts["train"], self._kept, seed)

    def val(self, *, seed: int) -> Split:
        """Return the samples to choose a model by: the same ones for every ``seed``."""
        return self.plain(self._chosen_by, self._held)

    def test(self, *, seed: int) -> Split:
        """Return the samples to report: the same ones for every ``seed``."""
        test = self.parts["test"]
        return self.plain(test, np.arange(len(test.labels)))
