"""Mean intersection over union, and the share of pixels that are right.

Counted over all pixels of the data set at once, not per image; ignored pixels are left out.
"""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from mamba_vision.segmentation.config import IGNORE


class _Counts(torchmetrics.Metric):
    """Pixels by true class (rows) and found class (columns)."""

    higher_is_better = True
    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        # the number of classes is known with the first batch
        empty = torch.zeros(0, 0, dtype=torch.int64)
        self.add_state("counts", empty, dist_reduce_fx="sum")

    def update(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        """Add a batch: ``logits (batch, num_classes, H, W)``, ``masks (batch, H, W)``."""
        logits = outputs["logits"].detach()
        found = multiclass_confusion_matrix(
            logits.argmax(1), batch["masks"], logits.shape[1], ignore_index=IGNORE
        )
        self.counts = found if self.counts.numel() == 0 else self.counts + found


class MeanIoU(_Counts):
    """Mean over the classes that occur, in masks or answers, of intersection over union."""

    def compute(self) -> Tensor:
        """Return the mean, 0 to 1; NaN when no pixel was counted."""
        right = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - right
        occurs = union > 0
        return (right[occurs] / union[occurs]).mean()


class PixelAccuracy(_Counts):
    """Share of pixels whose class is found."""

    def compute(self) -> Tensor:
        """Return the share, 0 to 1; NaN when no pixel was counted."""
        return self.counts.diagonal().sum() / self.counts.sum()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    made: dict[str, Any] = {"miou": MeanIoU(), "pixel_accuracy": PixelAccuracy()}
    return made
