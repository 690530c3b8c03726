"""Labelled samples: the part held out, the classes of data and model, one sample."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mamba_vision.labelling.config import LabelConfig

Sample = dict[str, Tensor]
_SPLIT_SEED = 0
"""Of the training samples held out for validation, whatever the seed of the training."""
_NAMED = 5
"""Broken files that a warning names."""


class Split(Protocol):
    """One part of the data."""

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Return the model's input without its batch axis, ``labels`` int64, ``targets`` float32
        ``(num_classes,)``.
        """
        ...


def hold_out(labels: NDArray[np.int64], share: float) -> tuple[NDArray, NDArray]:
    """Split places into kept and held-out ones, the same share of every class.

    :returns: two sorted int64 arrays; every class keeps at least one.
    """
    rng = np.random.default_rng(_SPLIT_SEED)
    held: list[NDArray] = []
    for label in np.unique(labels):
        places = rng.permutation(np.flatnonzero(labels == label))
        held.append(places[: min(round(share * len(places)), len(places) - 1)])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def numbered(count: int) -> tuple[str, ...]:
    """Return the names of classes that have none: their numbers."""
    return tuple(str(number) for number in range(count))


def check_classes(classes: tuple[str, ...], model: LabelConfig) -> None:
    """Raise ``ValueError`` when the classes of the data are not those of the model.

    Classes of the data that have no names, but numbers, may be any.
    """
    if len(classes) != model.num_classes:
        shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        raise ValueError(
            f"the data has {len(classes)} classes ({shown}), the model num_classes = "
            f"{model.num_classes}: set model.num_classes={len(classes)}"
        )
    if classes == numbered(len(classes)):
        return
    for number, (ours, theirs) in enumerate(zip(model.labels, classes, strict=False)):
        if ours != theirs:
            raise ValueError(
                f"class {number} is {theirs!r} in the data and {ours!r} in the model's labels: "
                "give labels in the data's order, or none"
            )


def one_hot(label: Tensor, classes: int) -> Tensor:
    """Return the target of a class, float32 ``(classes,)``."""
    return F.one_hot(label, classes).float()


def smoothed(target: Tensor, share: float) -> Tensor:
    """Spread ``share`` of a target evenly over all classes (Szegedy et al., 1512.00567)."""
    return (1 - share) * target + share / len(target)


def make_sample(name: str, value: Tensor, label: int, classes: int) -> Sample:
    """Return a sample of one class: its input by name, its label and its target."""
    number = torch.tensor(label)
    return {name: value, "labels": number, "targets": one_hot(number, classes)}


def warn_of_broken(broken: Sequence[str], what: str, *, stacklevel: int) -> None:
    """Warn once of all files that are left out, with their number and the first names.

    :param what: what they cannot be read as, such as ``"images"``.
    """
    if not broken:
        return
    more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    warnings.warn(
        f"{len(broken)} files cannot be read as {what} and are left out: "
        f"{', '.join(broken[:_NAMED])}{more}",
        stacklevel=stacklevel + 1,
    )
