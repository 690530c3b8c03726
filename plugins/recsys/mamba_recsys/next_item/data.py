"""Histories as samples: all positions of a user at once to learn from, one target to measure.

A sample is a function of (seed, epoch, index) only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_core.registry import ConfigError
from mamba_recsys import interactions as I
from mamba_recsys.interactions import InteractionError, Interactions, Parts
from mamba_recsys.next_item.config import (
    SIGMA,
    Binary,
    EchoMamba,
    NextItemConfig,
    NextItemData,
    Objective,
    SampledSoftmax,
)
from mamba_recsys.next_item.objective import IGNORE
from mamba_recsys.ragged import edges
from mamba_recsys.readers import Columns, read

Sample = dict[str, Tensor]


class Split(Protocol):
    """One part of the data."""

    def __len__(self) -> int: ...

    def sample(self, epoch: int, index: int) -> Sample:
        """Return one user's events, with ``lengths`` of the pieces they are cut into."""
        ...

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Pack samples end to end."""
        ...


class NextItemDataset:
    """Training, validation and test of ``rec-next``.

    :param data: which interactions, and how they are cut.
    :param model: says how many items and columns the model knows.
    :raises FileNotFoundError: for a path without data.
    :raises InteractionError: for data that cannot be used, or another number of items.
    """

    def __init__(self, data: NextItemData, model: NextItemConfig) -> None:
        self.data = data
        users, items, times = read(data.path, Columns(data.user, data.item, data.time))
        self.interactions = I.make_interactions(
            users,
            items,
            times,
            duplicates="keep",
            min_item_events=data.min_item_events,
            min_user_events=data.min_user_events,
        )
        check_items(self.interactions, model, data.path)
        check_positions(model, data.prefixes)
        self.parts = split(self.interactions, data)

    def train(self, *, seed: int) -> TrainSplit:
        """Return the users to learn from."""
        config = self.data
        return TrainSplit(
            self.interactions,
            self.parts,
            config.objective,
            config.max_length,
            prefixes=config.prefixes,
            seed=seed,
        )

    def val(self, *, seed: int) -> TargetSplit:
        """Return the targets to choose a model by: the same ones for every ``seed``."""
        return TargetSplit(self.interactions, self.parts.val, self.data.max_length)

    def test(self, *, seed: int) -> TargetSplit:
        """Return the targets to report: the same ones for every ``seed``."""
        return TargetSplit(self.interactions, self.parts.test, self.data.max_length)


def check_items(data: Interactions, model: NextItemConfig, path: Path) -> None:
    """Raise unless a model was built for as many items as a file has."""
    found = len(data.catalogue)
    if found != model.items:
        raise InteractionError(
            f"{path} has {found} items, the model items = {model.items}: build the model with "
            f"items={found} (--model.items {found})"
        )


def check_positions(model: NextItemConfig, prefixes: int | None) -> None:
    """Raise for a network that reads backwards and would be trained on all positions."""
    if isinstance(model.network, SIGMA | EchoMamba) and prefixes is None:
        raise ConfigError(
            f"network.kind = {model.network.kind!r} reads later events: give data.prefixes, to "
            "train on prefixes with one target each"
        )


def split(data: Interactions, config: NextItemData) -> Parts:
    """Cut interactions as a data config says."""
    if config.split == "leave_one_out":
        return I.leave_one_out(data)
    return I.temporal(data, val_share=config.val_share, test_share=config.test_share)


def events(data: Interactions, rows: slice) -> Sample:
    """What the model reads of some events."""
    return {
        "items": torch.from_numpy(data.items[rows]),
        "times": torch.from_numpy(data.times[rows]),
        "event_codes": torch.from_numpy(data.codes[rows]),
        "event_numbers": torch.from_numpy(data.numbers[rows]),
    }


def one_target(data: Interactions, first: int, place: int) -> Sample:
    """What stands before a place from ``first`` on, and the event there as the only target."""
    sample = events(data, slice(first, place))
    targets = torch.full((place - first,), IGNORE)
    targets[-1] = int(data.items[place])
    return sample | {"targets": targets, "lengths": torch.tensor([place - first])}


def pack(samples: Sequence[Sample]) -> Sample:
    """Lay samples end to end; ``lengths`` become ``cu_seqlens``."""
    names = [name for name in samples[0] if name != "lengths"]
    batch = {name: torch.cat([sample[name] for sample in samples]) for name in names}
    return batch | {"cu_seqlens": edges(torch.cat([sample["lengths"] for sample in samples]))}


class TrainSplit:
    """Users with all positions of their training events.

    Histories longer than ``max_length`` are cut at places that change with the epoch.

    :param objective: says which negatives are drawn.
    :param prefixes: so many prefixes of each history, drawn at random, with one target each; None
        takes all positions of the whole.
    :param seed: of cuts and negatives.
    """

    def __init__(
        self,
        data: Interactions,
        parts: Parts,
        objective: Objective,
        max_length: int | None,
        *,
        prefixes: int | None = None,
        seed: int,
    ) -> None:
        self.interactions, self.objective = data, objective
        self.max_length, self.prefixes, self.seed = max_length, prefixes, seed
        starts = data.offsets[:-1]
        some = parts.train_end - starts >= 2
        self.starts, self.ends = starts[some], parts.train_end[some]
        self._draw = _draw(I.training_counts(data, parts), objective)

    def __len__(self) -> int:
        return len(self.starts)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`; ``targets`` int64 ``(events,)``, and negatives if drawn."""
        rng = np.random.default_rng([self.seed, epoch, index])
        first, last = int(self.starts[index]), int(self.ends[index])
        if self.prefixes is None:
            sample = self._whole(first, last, rng)
        else:
            sample = self._prefixes(first, last, self.prefixes, rng)
        if self._draw is not None:
            shape: tuple[int, ...] = (self._draw.count,)
            if isinstance(self.objective, Binary):
                shape = (len(sample["items"]), *shape)
            sample["negatives"] = torch.from_numpy(self._draw.items(rng, shape))
        return sample

    def _whole(self, first: int, last: int, rng: np.random.Generator) -> Sample:
        """All positions; a long history in pieces."""
        lengths = _pieces(last - first - 1, self.max_length, rng)
        return events(self.interactions, slice(first, last - 1)) | {
            "targets": torch.from_numpy(self.interactions.items[first + 1 : last]),
            "lengths": torch.from_numpy(lengths),
        }

    def _prefixes(self, first: int, last: int, count: int, rng: np.random.Generator) -> Sample:
        """Some prefixes, each with its target behind the last event."""
        parts = []
        for place in rng.integers(first + 1, last, size=count).tolist():
            begin = first if self.max_length is None else max(first, place - self.max_length)
            parts.append(one_target(self.interactions, begin, place))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """See :meth:`Split.collate`."""
        batch = pack(samples)
        objective = self.objective
        if isinstance(objective, SampledSoftmax) and self._draw is not None:
            p = torch.from_numpy(self._draw.p)[batch["negatives"]]
            batch["log_expected"] = (p * len(p)).log()
        if isinstance(objective, Binary):
            batch["power"] = torch.tensor(power(objective, len(self.interactions.catalogue)))
        return batch


class _Draw:
    """Items by fixed probabilities."""

    def __init__(self, p: NDArray[np.float64], count: int) -> None:
        self.p, self.count = p, count
        self._edges = p.cumsum() / p.sum()

    def items(self, rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Draw with replacement."""
        drawn = np.searchsorted(self._edges, rng.random(shape), side="right")
        return drawn.clip(max=len(self.p) - 1).astype(np.int64)


def _draw(counts: NDArray[np.int64], objective: Objective) -> _Draw | None:
    if isinstance(objective, SampledSoftmax):
        weights = np.maximum(counts, 1).astype(np.float64) ** objective.power
        return _Draw(weights / weights.sum(), objective.negatives)
    if isinstance(objective, Binary):
        return _Draw(np.full(len(counts), 1 / len(counts)), objective.negatives)
    return None


def power(objective: Binary, items: int) -> float:
    """Return gBCE's exponent of the target's probability, 1 for plain binary cross-entropy.

    ``alpha (t (1 - 1/alpha) + 1/alpha)`` with the sampling rate ``alpha`` and calibration t
    (2308.07192).
    """
    rate = objective.negatives / max(items - 1, 1)
    t = objective.calibration
    return 1.0 if t == 0 else rate * (t * (1 - 1 / rate) + 1 / rate)


def _pieces(events: int, longest: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lengths of the pieces of a history, the first cut at random."""
    if longest is None or events <= longest:
        return np.array([events])
    first = int(rng.integers(1, longest + 1))
    rest = events - first
    pieces = [first] + [longest] * (rest // longest) + [rest % longest]
    return np.array([piece for piece in pieces if piece])


class TargetSplit:
    """Users with one target each, behind the last event that is read."""

    def __init__(
        self, data: Interactions, places: NDArray[np.int64], max_length: int | None
    ) -> None:
        self.interactions, self.places, self.max_length = data, places, max_length
        self.starts = data.offsets[I.user_of(data, places)]

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`; ``targets`` has the target behind the last event only."""
        place, first = int(self.places[index]), int(self.starts[index])
        if self.max_length is not None:
            first = max(first, place - self.max_length)
        return one_target(self.interactions, first, place)

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """See :meth:`Split.collate`."""
        return pack(samples)
