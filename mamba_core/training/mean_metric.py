"""The metric that most tasks need: the mean of a value per item, or per step."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torchmetrics
from torch import Tensor

from mamba_core.training.data import Batch


class ValueMean(torchmetrics.Metric):
    """Mean of a value over all batches and processes, whatever the batch size.

    torchmetrics' own ``MeanMetric`` sums in float32, where the result depends on how the items
    are cut into batches; here sums are float64. Say ``higher_is_better`` in the subclass.
    """

    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    @abstractmethod
    def values(self, outputs: Batch, batch: Batch) -> Tensor:
        """Return the values of a batch, of any shape; ``outputs`` carry no gradient."""

    def counted(self, batch: Batch) -> Tensor | None:
        """Return which values count, bool and shaped like them; None: all of them."""
        return None

    def update(self, outputs: Batch, batch: Batch) -> None:
        """Add a batch."""
        values = self.values({name: value.detach() for name, value in outputs.items()}, batch)
        counted = self.counted(batch)
        if counted is not None:
            values = values[counted]
        self.total += values.sum(dtype=torch.float64).to(self.total.device)
        self.count += values.numel()

    def compute(self) -> Tensor:
        """Return the mean, a float32 scalar; not a number where nothing was counted."""
        return (self.total / self.count).float()
