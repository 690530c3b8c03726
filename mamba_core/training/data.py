"""The data of a task as the trainer sees it: plain objects, samples by number.

A sample is a function of (seed, epoch, index) and the order of samples one of (seed, epoch), so
a run that stops anywhere can go on with exactly the sample that would have come next.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Batch = dict[str, Tensor]
Place = tuple[int, int]
"""(epoch, index)"""


class Split(Protocol):
    """One part of a task's data. It may also have ``collate(samples) -> batch``; without one,
    samples are stacked."""

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        ...

    def sample(self, epoch: int, index: int) -> Batch:
        """Return one sample; equal arguments give equal samples, whatever came before."""
        ...


class TaskData(Protocol):
    """What a task's ``data`` makes of a data config and a model config.

    It may also have ``prepare(model)``, called once before training begins: it sets what is found
    in closed form from the training data, the same in every process. And ``finish(model, *,
    seed)``, called once when training ended, in one process, with the best model on the CPU in
    eval mode: it sets what is found with trained weights, which it leaves as they are, and the
    same whenever it is done again. What it gives is validated and saved in the best one's place.
    """

    def train(self, *, seed: int) -> Split:
        """Return the samples to learn from."""
        ...

    def val(self, *, seed: int) -> Split:
        """Return the samples to choose a model by."""
        ...

    def test(self, *, seed: int) -> Split:
        """Return the samples to report."""
        ...


class SampleStream(Sampler[list[Place]]):
    """Batches of (epoch, index) without end; every process gets its share of each.

    The epochs follow each other without a gap, so a batch may hold the end of one and the
    beginning of the next: no sample is left out or repeated, whatever the batch size.

    :param items: samples per epoch.
    :param batch_size: per process.
    :param seed: of the order; the order of an epoch depends on it and on the epoch only.
    :param rank: of this process, ``0 <= rank < world``.
    :param start: batches (of each process) that were used before.
    """

    def __init__(
        self, items: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1, start: int
    ) -> None:
        self.items, self.batch_size, self.seed = items, batch_size, seed
        self.rank, self.world, self.start = rank, world, start

    def __iter__(self) -> Iterator[list[Place]]:
        for number in itertools.count(self.start):
            first = (number * self.world + self.rank) * self.batch_size
            yield [self._place(first + offset) for offset in range(self.batch_size)]

    def _place(self, position: int) -> Place:
        epoch, within = divmod(position, self.items)
        return epoch, int(epoch_order(self.items, self.seed, epoch)[within])


@lru_cache(maxsize=4)
def epoch_order(items: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch, a permutation int64 ``(items,)``."""
    # a digest: the CPU generator reads 32 bits of its seed only
    digest = hashlib.blake2b(f"{seed}:{epoch}".encode(), digest_size=4).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
    return torch.randperm(items, generator=generator)


class _Places(Dataset[Batch]):
    """A split, asked by (epoch, index)."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __getitem__(self, place: Place) -> Batch:
        return self.split.sample(*place)


def _stack(samples: Sequence[Batch]) -> Batch:
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def _loader(
    split: Split, batches: Sampler[list[Place]] | list[list[Place]], workers: int
) -> DataLoader[Batch]:
    collate: Callable[[Sequence[Batch]], Batch] = getattr(split, "collate", _stack)
    return DataLoader(
        _Places(split),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        # a generator of its own: making an iterator must not move the global one
        generator=torch.Generator(),
    )


def train_loader(split: Split, stream: SampleStream, *, workers: int) -> DataLoader[Batch]:
    """Return the endless loader of a training."""
    return _loader(split, stream, workers)


def eval_batches(
    items: int, batch_size: int, *, rank: int = 0, world: int = 1
) -> tuple[list[list[Place]], int]:
    """Return this process's batches of one pass through a split in order.

    :returns: the batches, equally many in every process so that collective calls meet, and how
        many of them count; the others repeat a sample only to fill up.
    """
    mine = [(0, index) for index in range(rank, items, world)]
    batches = [mine[at : at + batch_size] for at in range(0, len(mine), batch_size)]
    most = math.ceil(math.ceil(items / world) / batch_size)
    return batches + [[(0, 0)]] * (most - len(batches)), len(batches)


def eval_loader(split: Split, batches: list[list[Place]], *, workers: int) -> DataLoader[Batch]:
    """Return the loader of given batches."""
    return _loader(split, batches, workers)
