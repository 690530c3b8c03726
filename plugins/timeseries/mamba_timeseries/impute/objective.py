"""Errors at hidden steps, with the straight line between neighbours beside them."""

from __future__ import annotations

import torch
import torchmetrics
from torch import Tensor

from mamba_core.training import ValueMean

Values = dict[str, Tensor]


def loss(outputs: Values, batch: Values) -> Tensor:
    """Return the mean squared error at hidden steps; 0 when nothing is hidden.

    :param outputs: ``filled`` ``(batch, size, channels)``.
    :param batch: ``truth`` and ``hidden`` like it.
    """
    error = (outputs["filled"] - batch["truth"]).square()
    return torch.where(batch["hidden"], error, 0).sum() / batch["hidden"].sum().clamp(min=1)


def line(values: Tensor, observed: Tensor) -> Tensor:
    """Fill gaps by a straight line between the observed neighbours, the next one at an edge.

    :param values: ``(batch, size, channels)``.
    :returns: like ``values``; 0 where a channel has no observation.
    """
    steps = torch.arange(values.shape[1], device=values.device)[None, :, None].expand_as(values)
    last = values.shape[1]
    left = torch.where(observed, steps, -1).cummax(1).values
    right = torch.where(observed, steps, last).flip(1).cummin(1).values.flip(1)
    a = torch.where(left < 0, right, left).clamp(max=last - 1)
    b = torch.where(right == last, left, right).clamp(min=0)
    known = torch.where(observed, values, 0)
    start, stop = known.gather(1, a), known.gather(1, b)
    share = (steps - a).to(values) / (b - a).clamp(min=1)
    return start + (stop - start) * share.clamp(0, 1)


class HiddenMean(ValueMean):
    """Mean over hidden steps."""

    higher_is_better = False

    def counted(self, batch: Values) -> Tensor:
        """Hidden steps, ``(batch, size, channels)``."""
        return batch["hidden"]


class MSE(HiddenMean):
    """Mean squared error at hidden steps, in the data's standardised units."""

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Squared errors."""
        return (outputs["filled"] - batch["truth"]).square()


class MAE(HiddenMean):
    """Mean absolute error at hidden steps."""

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Absolute errors."""
        return (outputs["filled"] - batch["truth"]).abs()


class LineMSE(HiddenMean):
    """What the straight line between neighbours would have scored: the bar."""

    def values(self, outputs: Values, batch: Values) -> Tensor:
        """Squared errors of :func:`line`."""
        return (line(batch["values"], batch["observed"]) - batch["truth"]).square()


def metrics() -> dict[str, torchmetrics.Metric]:
    """Return the metrics by name; the first is the score."""
    return {"mse": MSE(), "mae": MAE(), "line_mse": LineMSE()}
