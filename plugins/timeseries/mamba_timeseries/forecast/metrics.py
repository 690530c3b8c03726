"""Errors over all observed steps of all windows, exact at any batch size."""

from __future__ import annotations

import torchmetrics
from torch import Tensor

from mamba_core.training import ValueMean
from mamba_timeseries.forecast.objective import pinball

Values = dict[str, Tensor]


class StepMean(ValueMean):
    """Mean over observed steps."""

    higher_is_better = False

    def counted(self, batch: Values) -> Tensor:
        """Observed steps, ``(batch, h, channels)``."""
        return batch["target_observed"]


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
