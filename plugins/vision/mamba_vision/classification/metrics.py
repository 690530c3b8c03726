"""Share of images whose class is the most probable one, or among the five most probable."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import Tensor


class TopAccuracy(torchmetrics.Metric):
    """Share of images whose class is among the ``top`` most probable."""

    higher_is_better = True
    correct: Tensor
    total: Tensor

    def __init__(self, top: int) -> None:
        super().__init__()
        self.top = top
        self.add_state("correct", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        """Add a batch: ``logits (batch, num_classes)``, ``labels (batch,)``."""
        logits, labels = outputs["logits"].detach(), batch["labels"]
        best = logits.topk(min(self.top, logits.shape[-1]), dim=-1).indices
        self.correct += (best == labels[:, None]).any(-1).sum()
        self.total += labels.numel()

    def compute(self) -> Tensor:
        """Return the share, 0 to 1."""
        return self.correct / self.total


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    made: dict[str, Any] = {"top1": TopAccuracy(1), "top5": TopAccuracy(5)}
    return made
