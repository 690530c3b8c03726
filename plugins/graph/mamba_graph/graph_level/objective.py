"""Losses and metrics of ``graph-cls`` and ``graph-reg``."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F

from mamba_core.training import ValueMean

Values = dict[str, Tensor]


def classifier_loss(outputs: Values, batch: Values) -> Tensor:
    """Return the cross-entropy of ``y`` ``(graphs,)`` under ``logits`` ``(graphs, classes)``."""
    return F.cross_entropy(outputs["logits"], batch["y"])


def regressor_loss(outputs: Values, batch: Values) -> Tensor:
    """Return Huber's loss: squares for errors under 1, beyond that distances."""
    return F.huber_loss(outputs["values"], batch["y"])


class Accuracy(ValueMean):
    """Share of graphs whose class was found."""

    higher_is_better = True

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """1 where the class was found, 0 else, ``(graphs,)``."""
        return (outputs["logits"].argmax(-1) == batch["y"]).float()


class MeanAbsoluteError(ValueMean):
    """Mean absolute error over graphs and targets."""

    higher_is_better = False

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """``(graphs, targets)``."""
        return (outputs["values"] - batch["y"]).abs()


class RootMeanSquare(ValueMean):
    """Root of the mean squared error over graphs and targets."""

    higher_is_better = False

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Squares, ``(graphs, targets)``."""
        return (outputs["values"] - batch["y"]).square()

    def compute(self) -> Tensor:
        """Return the root, a float32 scalar."""
        return torch.sqrt(super().compute())


def classifier_metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"accuracy": Accuracy()}


def regressor_metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"rmse": RootMeanSquare(), "mae": MeanAbsoluteError()}
