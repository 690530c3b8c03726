"""Parts of labelled data: the classes of folders ``part/class/``, and what is left out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

SampleT = TypeVar("SampleT")
PartT = TypeVar("PartT")
PARTS = ("train", "val", "test")
_NAMED = 5
"""Classes that a message names."""


def class_names(
    found: Mapping[str, Sequence[tuple[Any, str]]], where: str, what: str
) -> tuple[str, ...]:
    """Return the classes of the training samples, in the order of their names.

    Without any, those of the samples that there are, as for measuring on ImageNet's ``val`` alone.

    :param found: ``(sample, class)`` of each part.
    :param where: the folder or file, for messages.
    :param what: what samples are called, in the plural.
    :raises FileNotFoundError: without samples.
    :raises ValueError: for a class that only another part has.
    """
    if not any(found.values()):
        raise FileNotFoundError(f"{where} holds no {what} in train/<class>/ and test/<class>/")
    named = found["train"] or [sample for samples in found.values() for sample in samples]
    classes = tuple(sorted({label for _, label in named}))
    for part, samples in found.items():
        strange = sorted({label for _, label in samples} - set(classes))
        if strange:
            raise ValueError(
                f"{where}: {part}/ has the classes {strange[:_NAMED]}, train/ has not: give every "
                "class training samples, or take these away"
            )
    return classes


def needed_parts(parts: Mapping[str, PartT], where: str, what: str) -> dict[str, PartT]:
    """Return the parts with one to report among them.

    ImageNet's folders have val and no test: what there is serves for both.

    :param parts: those that hold samples which can be read.
    :raises FileNotFoundError: without samples to report.
    """
    whole = dict(parts)
    if "test" not in whole and "val" in whole:
        whole["test"] = whole["val"]
    if "test" not in whole:
        raise FileNotFoundError(f"{where} holds no {what} in test/<class>/ or val/<class>/")
    return whole


def taken(
    samples: Iterable[Any],
    names: Sequence[str],
    labels: NDArray[np.int64],
    take: Callable[[Any], SampleT],
) -> tuple[list[SampleT], NDArray[np.int64], tuple[str, ...]]:
    """Take each sample; those for which ``take`` raises ``ValueError`` are left out.

    :param names: of the samples, for messages.
    :param labels: of the samples, int64 ``(n,)``.
    :returns: what was taken, its labels, and the name and the reason of each that was not.
    """
    kept: list[SampleT] = []
    places: list[int] = []
    skipped: list[str] = []
    for place, sample in enumerate(samples):
        try:
            kept.append(take(sample))
        except ValueError as error:
            said = str(error)
            skipped.append(said if said.startswith(names[place]) else f"{names[place]}: {said}")
        else:
            places.append(place)
    return kept, labels[places], tuple(skipped)
