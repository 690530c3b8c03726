"""Cross-entropy, accuracy and the mean of the classes' recalls."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F

from mamba_core.training import ValueMean

Values = dict[str, Tensor]


def loss(outputs: Values, batch: Values) -> Tensor:
    """Return the cross-entropy of ``label`` ``(batch,)`` under ``logits`` ``(batch, classes)``."""
    return F.cross_entropy(outputs["logits"], batch["label"])


class Accuracy(ValueMean):
    """Share of series whose class was found."""

    higher_is_better = True

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """1 where the class was found, 0 else, ``(batch,)``."""
        return (outputs["logits"].argmax(-1) == batch["label"]).float()


class BalancedAccuracy(torchmetrics.Metric):
    """Mean over the classes that occur of the share of their series that was found."""

    higher_is_better = True
    found: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("found", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, outputs: Values, batch: Values) -> None:
        """Add a batch."""
        self.found.append(outputs["logits"].argmax(-1) == batch["label"])
        self.labels.append(batch["label"])

    def compute(self) -> Tensor:
        """Return the mean, a float32 scalar."""
        found, labels = torch.cat(list(self.found)).float(), torch.cat(list(self.labels))
        return torch.stack([found[labels == k].mean() for k in labels.unique()]).mean()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"accuracy": Accuracy(), "balanced_accuracy": BalancedAccuracy()}
