"""Loss and metrics of ``graph-node``, over the nodes that count."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F

from mamba_core.training import ValueMean

Values = dict[str, Tensor]
_PASSED_OVER = -100
"""The answer of a node that does not count."""


def loss(outputs: Values, batch: Values) -> Tensor:
    """Return the cross-entropy of ``node_y`` under ``logits``, where ``node_mask`` is set.

    0 for a region without such nodes.
    """
    kept = batch["node_mask"]
    # the others are passed over: to pick nodes by a mask would wait for the device
    answer = torch.where(kept, batch["node_y"], _PASSED_OVER)
    total = F.cross_entropy(outputs["logits"], answer, reduction="sum", ignore_index=_PASSED_OVER)
    return total / kept.sum().clamp(min=1)


class Accuracy(ValueMean):
    """Share of nodes whose class was found."""

    higher_is_better = True

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """1 where the class was found, 0 else, ``(nodes,)``."""
        return (outputs["logits"].argmax(-1) == batch["node_y"]).float()

    def counted(self, batch: Values) -> Tensor:
        """Nodes that count."""
        return batch["node_mask"]


class RocAuc(torchmetrics.Metric):
    """Area under the ROC curve of each class against the others, mean over the classes.

    A class that does not occur does not count; 0.5 when none does.
    """

    higher_is_better = True
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, outputs: Values, batch: Values) -> None:
        """Add a batch."""
        self.scores.append(outputs["logits"].detach().float().softmax(-1))
        self.labels.append(torch.where(batch["node_mask"], batch["node_y"], _PASSED_OVER))

    def compute(self) -> Tensor:
        """Return the area, a float32 scalar."""
        scores, labels = torch.cat(list(self.scores)), torch.cat(list(self.labels))
        scores, labels = scores[labels != _PASSED_OVER], labels[labels != _PASSED_OVER]
        found = [roc_auc(scores[:, k], labels == k) for k in range(scores.shape[1])]
        areas = [area for area in found if area is not None]
        return torch.stack(areas).mean() if areas else torch.tensor(0.5)


def roc_auc(scores: Tensor, positive: Tensor) -> Tensor | None:
    """Return the share of pairs in the right order, ties half; None when there are no pairs.

    :param scores: ``(items,)``.
    :param positive: bool ``(items,)``.
    """
    pairs = positive.sum().double() * (~positive).sum()
    if not pairs:
        return None
    _, rank, count = scores.unique(return_inverse=True, return_counts=True)
    place = count.cumsum(0).double() - (count.double() - 1) / 2
    wins = place[rank][positive].sum() - positive.sum().double() * (positive.sum() + 1) / 2
    return (wins / pairs).float()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"accuracy": Accuracy(), "roc_auc": RocAuc()}
