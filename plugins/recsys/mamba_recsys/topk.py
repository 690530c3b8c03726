"""Exact search for the best items: blocks of users times blocks of items, never all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_recsys.ragged import pairs

USERS, ITEMS = 256, 16384
"""Size of a block."""


def top_k(
    users: Tensor,
    items: Tensor,
    k: int,
    *,
    exclude: Sequence[NDArray[np.int64]] | None = None,
    allowed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` items with the largest inner products; of equal ones the first.

    :param users: ``(users, d)``.
    :param items: ``(items, d)``.
    :param exclude: numbers of items that are left out, for each user.
    :param allowed: bool ``(items,)``: others are left out for everybody.
    :returns: scores ``(users, k')`` and numbers int64, ``k' = min(k, items)``; a score of ``-inf``
        stands where fewer than ``k'`` items are left.
    """
    scores, numbers = [], []
    for start in range(0, len(users), USERS):
        part = slice(start, start + USERS)
        excluded = None if exclude is None else exclude[part]
        one, other = _block(users[part], items, min(k, len(items)), excluded, allowed)
        scores.append(one)
        numbers.append(other)
    if not scores:
        width = min(k, len(items))
        return users.new_zeros(0, width), torch.zeros(0, width, dtype=torch.int64)
    return torch.cat(scores), torch.cat(numbers)


def long_form(
    names: Sequence[Any], ids: NDArray[Any], scores: Tensor, numbers: Tensor
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return :func:`top_k`'s answers with a row per item: name, id, score and rank.

    :param names: of the rows of ``scores``.
    :param ids: raw ids of the items.
    :returns: ``(answers,)`` each; places where no item was left are none.
    """
    some = torch.isfinite(scores).numpy()
    ranks = np.broadcast_to(np.arange(1, some.shape[1] + 1), some.shape)
    who = np.repeat(np.array(list(names)), some.sum(1))
    return who, ids[numbers.numpy()[some]], scores.numpy()[some], ranks[some]


def _block(
    users: Tensor,
    items: Tensor,
    k: int,
    exclude: Sequence[NDArray[np.int64]] | None,
    allowed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """:func:`top_k` of one block of users, items block by block."""
    rows, columns = pairs(exclude or [])
    best = users.new_full((len(users), 0), 0.0)
    where = torch.zeros(len(users), 0, dtype=torch.int64, device=users.device)
    for start in range(0, len(items), ITEMS):
        stop = min(start + ITEMS, len(items))
        scores = users @ items[start:stop].T
        if allowed is not None:
            scores.masked_fill_(~allowed[start:stop], -torch.inf)
        inside = (columns >= start) & (columns < stop)
        scores[rows[inside], columns[inside] - start] = -torch.inf
        every = torch.arange(start, stop, device=users.device).expand(len(users), -1)
        # sorting is stable where topk is not: equal scores keep the order of the items
        joined = torch.cat([best, scores], 1)
        numbers = torch.cat([where, every], 1)
        order = _largest(joined, k)
        best, where = joined.gather(1, order), numbers.gather(1, order)
    return best, where


def _largest(scores: Tensor, k: int) -> Tensor:
    """Columns of the k largest, falling; of equal ones the first column."""
    k = min(k, scores.shape[1])
    threshold = scores.topk(k, dim=1).values[:, -1:]
    # keep all above the threshold, and the first columns that equal it
    equal = scores == threshold
    missing = k - (scores > threshold).sum(1, keepdim=True)
    chosen = (scores > threshold) | (equal & (equal.cumsum(1) <= missing))
    columns = chosen.nonzero()[:, 1].view(len(scores), k)
    order = scores.gather(1, columns).argsort(dim=1, descending=True, stable=True)
    return columns.gather(1, order)
