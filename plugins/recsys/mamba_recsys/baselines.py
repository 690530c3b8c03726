"""Recommenders that count: the bar every model stands beside. Sparse tables in float64."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Items = NDArray[np.int64]
Scores = NDArray[np.float64]


class Baseline(ABC):
    """Scores from counts of the training histories.

    :param histories: training items of each user, in order.
    :param items: size of the catalogue.
    """

    name: str

    def __init__(self, histories: Sequence[Items], items: int) -> None:
        self.items = items
        flat = np.concatenate(histories) if len(histories) else np.zeros(0, dtype=np.int64)
        counts = np.bincount(flat, minlength=items).astype(np.float64)
        self.counts = counts
        self.p = counts / max(counts.sum(), 1)
        self._count(histories)

    def _count(self, histories: Sequence[Items]) -> None:
        """Make further tables."""
        return

    @abstractmethod
    def scores(self, contexts: Sequence[Items]) -> Scores:
        """Return ``(users, items)`` for what each had before, the last one last."""


class Popularity(Baseline):
    """Counts, the same for everybody."""

    name = "popularity"

    def scores(self, contexts: Sequence[Items]) -> Scores:
        """See :meth:`Baseline.scores`."""
        return np.tile(self.p, (len(contexts), 1))


class _Table(Baseline):
    """A sparse item-to-item table, read by the weighted last items of the context."""

    last: int | None
    """How many items of the context are read; None reads all."""
    decay: float
    """Weight of an item, to the power of its age."""
    floor: float
    """Weight of popularity, which orders what the table does not know."""
    table: sparse.csr_matrix

    def scores(self, contexts: Sequence[Items]) -> Scores:
        """See :meth:`Baseline.scores`."""
        rows, columns, weights = [], [], []
        for row, context in enumerate(contexts):
            read = context if self.last is None else context[-self.last :]
            rows.append(np.full(len(read), row))
            columns.append(read)
            weights.append(self.decay ** np.arange(len(read) - 1, -1, -1.0))
        shape = (len(contexts), self.items)
        entries = (np.concatenate(rows), np.concatenate(columns))
        context_weights = sparse.coo_matrix((np.concatenate(weights), entries), shape=shape)
        return (context_weights.tocsr() @ self.table).toarray() + self.floor * self.p


class Markov(_Table):
    """The next item's counts after the last one."""

    name = "markov-1"
    last: int | None = 1
    decay, floor = 1.0, 1e-3

    def _count(self, histories: Sequence[Items]) -> None:
        self.table = _rows_to_one(transitions(histories, self.items, window=1))


class WindowMarkov(_Table):
    """Counts of what came 1 to 10 events later, weighted by the distance's inverse."""

    name = "window-markov"
    last, decay, floor = 10, 0.7, 1e-4

    def _count(self, histories: Sequence[Items]) -> None:
        self.table = _rows_to_one(transitions(histories, self.items, window=10))


class ItemKNN(_Table):
    """Cosine between the sets of users of two items, summed over the whole context."""

    name = "item-knn"
    last: int | None = None
    decay, floor = 1.0, 1e-6

    def _count(self, histories: Sequence[Items]) -> None:
        rows = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
        shape = (len(histories), self.items)
        taken = sparse.coo_matrix((np.ones(len(rows)), (rows, np.concatenate(histories))), shape)
        taken = taken.tocsr()
        taken.data[:] = 1.0  # how often does not count
        norm = np.sqrt(np.maximum(np.asarray(taken.sum(0)).ravel(), 1))
        scaled = taken @ sparse.diags(1 / norm)
        table = (scaled.T @ scaled).tolil()
        table.setdiag(0)
        self.table = table.tocsr()


class ItemKNNLast(ItemKNN):
    """The same cosine, of the last 10 items, later ones weighing more."""

    name = "item-knn-last"
    last, decay, floor = 10, 0.8, 1e-6


class DirectionalKNN(_Table):
    """Window transitions over the root of both items' counts."""

    name = "directional-knn"
    last, decay, floor = 10, 0.8, 1e-9

    def _count(self, histories: Sequence[Items]) -> None:
        root = sparse.diags(1 / np.sqrt(np.maximum(self.counts, 1)))
        self.table = (root @ transitions(histories, self.items, window=10) @ root).tocsr()


BASELINES: dict[str, type[Baseline]] = {
    kind.name: kind
    for kind in (Popularity, Markov, WindowMarkov, ItemKNN, ItemKNNLast, DirectionalKNN)
}
"""By name."""
REPORTED = ("popularity", "markov-1", "window-markov")
"""What stands beside a model in every report."""


def transitions(histories: Sequence[Items], items: int, *, window: int) -> sparse.csr_matrix:
    """Return how often one item came ``k = 1 .. window`` events after another, over ``k``.

    :returns: ``(items, items)``, from row to column.
    """
    rows, columns, weights = [], [], []
    for k in range(1, window + 1):
        before = np.concatenate([h[:-k] for h in histories])
        after = np.concatenate([h[k:] for h in histories])
        rows.append(before)
        columns.append(after)
        weights.append(np.full(len(before), 1 / k))
    entries = (np.concatenate(rows), np.concatenate(columns))
    table = sparse.coo_matrix((np.concatenate(weights), entries), shape=(items, items))
    return table.tocsr()


def _rows_to_one(table: sparse.csr_matrix) -> sparse.csr_matrix:
    total = np.asarray(table.sum(1)).ravel()
    return (sparse.diags(1 / np.where(total > 0, total, 1)) @ table).tocsr()
