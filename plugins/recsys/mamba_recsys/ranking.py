"""Where the target stands among all items, and the measures made of it.

Ties count half: an item of equal score stands before the target in half of all orders, so a
scorer that gives all items the same score is not rewarded. A target that is not among the
candidates is a miss.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Return ``1 + number greater + half the number of other equals``, ``(users,)``.

    :param scores: float ``(users, items)``; ``-inf`` for what is no candidate.
    :param targets: int64 ``(users,)``.
    :returns: float64; infinity where the target is no candidate.
    """
    own = scores.gather(1, targets[:, None])
    greater = (scores > own).sum(1).double()
    equal = (scores == own).sum(1).double() - 1
    rank = 1 + greater + equal / 2
    return rank.masked_fill(torch.isneginf(own[:, 0]), torch.inf)


def hit(rank: Tensor, k: int) -> Tensor:
    """HR@k of each: 1 where the target is among the first k."""
    return (rank <= k).double()


def gain(rank: Tensor, k: int) -> Tensor:
    """NDCG@k of each, of one relevant item: ``1 / log2(1 + rank)`` among the first k."""
    return torch.where(rank <= k, 1 / torch.log2(1 + rank), 0.0)


def reciprocal(rank: Tensor, k: int) -> Tensor:
    """MRR@k of each: ``1 / rank`` among the first k."""
    return torch.where(rank <= k, 1 / rank, 0.0)


MEASURES = {"hr": hit, "ndcg": gain, "mrr": reciprocal}
"""By name; each takes ranks ``(users,)`` and k."""
