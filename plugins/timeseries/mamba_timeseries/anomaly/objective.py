"""What training lowers, and how scores are judged where anomalies are known."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from mamba_core.training import ValueMean

Values = dict[str, Tensor]


def loss(outputs: Values, batch: Values) -> Tensor:
    """Return the mean squared error of what was expected; every step was hidden from its own.

    :param outputs: ``expected`` ``(batch, size, channels)``.
    :param batch: ``values`` and ``observed`` like it.
    """
    error = (outputs["expected"] - batch["values"]).square()
    return torch.where(batch["observed"], error, 0).sum() / batch["observed"].sum().clamp(min=1)


class ExpectedMSE(ValueMean):
    """Mean squared error of what was expected, over observed steps."""

    higher_is_better = False

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Squared errors, ``(batch, size, channels)``."""
        return (outputs["expected"] - batch["values"]).square()

    def counted(self, batch: Values) -> Tensor:
        """Observed steps."""
        return batch["observed"]


class StepAUROC(torchmetrics.Metric):
    """Area under the ROC curve of the scores over single steps, without point adjustment.

    Not a number where no anomaly, or nothing else, is marked.
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
        self.scores.append(outputs["scores"].detach().flatten())
        self.labels.append(batch["labels"].flatten())

    def compute(self) -> Tensor:
        """Return the area, a float32 scalar."""
        labels = torch.cat(list(self.labels))
        scores = torch.cat(list(self.scores))
        if labels.min() == labels.max():
            return torch.tensor(float("nan"))
        ranks = scores.argsort().argsort().float() / len(scores)  # probabilities are expected
        return binary_auroc(ranks, labels)


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"mse": ExpectedMSE(), "auroc": StepAUROC()}
