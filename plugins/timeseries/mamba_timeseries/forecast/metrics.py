"""Errors over all observed steps of all windows, exact at any batch size."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor

from mamba_timeseries.forecast.objective import pinball

Values = dict[str, Tensor]


class StepMean(torchmetrics.Metric):
    """Mean over observed steps of a value per step; sums are kept in float64."""

    higher_is_better = False
    total: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("steps", torch.tensor(0), dist_reduce_fx="sum")

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Return one value per step, ``(batch, h, channels)``."""
        raise NotImplementedError

    def update(self, outputs: Values, batch: Values) -> None:
        """Add a batch."""
        observed = batch["target_observed"]
        values = self.values({n: v.detach() for n, v in outputs.items()}, batch)
        self.total += torch.where(observed, values, 0).sum(dtype=torch.float64)
        self.steps += observed.sum()

    def compute(self) -> Tensor:
        """Return the mean, a float32 scalar."""
        return (self.total / self.steps).float()


class MSE(StepMean):
    """Mean squared error, in the data's standardised units."""

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Squared errors."""
        return (outputs["forecast"] - batch["target"]).square()


class MAE(StepMean):
    """Mean absolute error, in the data's standardised units."""

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Absolute errors."""
        return (outputs["forecast"] - batch["target"]).abs()


class Pinball(StepMean):
    """Mean pinball loss over the quantiles; of a forecast without any, that of its median."""

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Losses, averaged over the levels."""
        quantiles, target = outputs["quantiles"], batch["target"]
        if not quantiles.shape[-1]:
            return (outputs["forecast"] - target).abs() / 2
        return pinball(quantiles, target, batch["levels"][0].to(target)).mean(-1)


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"mse": MSE(), "mae": MAE(), "pinball": Pinball()}
