"""Loss and metrics of ``graph-link``."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional as F

from mamba_core.training import ValueMean
from mamba_graph.node_level.objective import roc_auc

Values = dict[str, Tensor]


def loss(outputs: Values, batch: Values) -> Tensor:
    """Return the binary cross-entropy of ``pair_y`` under ``scores``, both ``(pairs,)``."""
    return F.binary_cross_entropy_with_logits(outputs["scores"], batch["pair_y"])


class RocAuc(torchmetrics.Metric):
    """Share of joined and unjoined pairs in the right order."""

    higher_is_better = True
    scores: list[Tensor]
    joined: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("joined", [], dist_reduce_fx="cat")

    def update(self, outputs: Values, batch: Values) -> None:
        """Add a batch."""
        self.scores.append(outputs["scores"].detach().float())
        self.joined.append(batch["pair_y"] > 0.5)

    def compute(self) -> Tensor:
        """Return the area, a float32 scalar; 0.5 when there are no two kinds of pairs."""
        area = roc_auc(torch.cat(list(self.scores)), torch.cat(list(self.joined)))
        return torch.tensor(0.5) if area is None else area


class Accuracy(ValueMean):
    """Share of pairs that were judged rightly at a chance of one half."""

    higher_is_better = True

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """1 where right, 0 else, ``(pairs,)``."""
        return ((outputs["scores"] > 0) == (batch["pair_y"] > 0.5)).float()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"roc_auc": RocAuc(), "accuracy": Accuracy()}
