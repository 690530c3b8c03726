"""How well recordings were tagged: mean average precision, accuracy."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision
from torchmetrics.utilities import dim_zero_cat

from mamba_core.training import ValueMean


class MeanAveragePrecision(torchmetrics.Metric):
    """Average precision of every label, mean over the labels that occur (AudioSet's mAP)."""

    higher_is_better = True
    logits: list[Tensor]
    targets: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("logits", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        """Add a batch."""
        self.logits.append(outputs["logits"].detach())
        self.targets.append((batch["targets"] > 0.5).long())

    def compute(self) -> Tensor:
        """Return the mean, a scalar between 0 and 1."""
        logits, targets = dim_zero_cat(self.logits), dim_zero_cat(self.targets)
        occurs = targets.any(0)
        columns = zip(logits.T[occurs], targets.T[occurs], strict=True)
        # average precision asks for the order only; torchmetrics takes logits for it
        return torch.stack([binary_average_precision(one, true) for one, true in columns]).mean()


class Accuracy(ValueMean):
    """Share of recordings whose most likely tag applies."""

    higher_is_better = True

    def values(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        """1 where it applies, 0 else, ``(batch, 1)``."""
        first = outputs["logits"].argmax(1, keepdim=True)
        return (batch["targets"].gather(1, first) > 0.5).float()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"map": MeanAveragePrecision(), "accuracy": Accuracy()}
