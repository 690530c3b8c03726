"""What is minimised: softmax over all or some items, or binary cross-entropy.

Which one follows from what is in the batch; the data's ``objective`` puts it there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mamba_recsys.next_item.softmax import chunked_cross_entropy, sampled_cross_entropy

IGNORE = -100
"""A target that is not there."""

Values = dict[str, Tensor]


def loss(outputs: Values, batch: Values) -> Tensor:
    """Return the mean over the positions that have a target, in nats.

    :param outputs: ``hidden`` ``(tokens, d_model)``, ``item_vectors`` ``(items, d_model)``.
    :param batch: ``targets`` int64 ``(tokens,)``, :data:`IGNORE` where there is none. With
        ``negatives`` ``(n,)`` and ``log_expected`` ``(n,)`` a sampled softmax; with ``negatives``
        ``(tokens, n)`` and ``power`` ``()`` binary cross-entropy; else all items.
    """
    known = batch["targets"] != IGNORE
    hidden, targets = outputs["hidden"][known], batch["targets"][known]
    items = outputs["item_vectors"]
    if not len(targets):
        return (hidden.sum() + items.sum()) * 0
    if "negatives" not in batch:
        return chunked_cross_entropy(hidden, items, targets) / len(targets)
    if batch["negatives"].dim() == 1:
        drawn = (batch["negatives"], batch["log_expected"])
        return sampled_cross_entropy(hidden, items, targets, *drawn) / len(targets)
    return _binary(hidden, items, targets, batch["negatives"][known], batch["power"])


def _binary(
    hidden: Tensor, items: Tensor, targets: Tensor, negatives: Tensor, power: Tensor
) -> Tensor:
    """Mean over targets and negatives; the target's probability counts to ``power`` (gBCE)."""
    own = (hidden * items[targets]).sum(-1)
    total = power.to(own) * F.softplus(-own).sum()
    rows = max((1 << 20) // max(negatives.shape[1], 1), 1)
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        drawn = items[negatives[part]]
        scores = torch.einsum("td,tnd->tn", hidden[part], drawn)
        # a negative that is the target by chance says nothing
        scores = scores.masked_fill(negatives[part] == targets[part, None], -torch.inf)
        total = total + F.softplus(scores).sum()
    return total / (len(targets) * (1 + negatives.shape[1]))
