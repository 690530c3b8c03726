"""What training lowers: squared error, or the pinball loss of the quantiles."""

from __future__ import annotations

import torch
from torch import Tensor


def pinball(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the pinball loss, ``max(level * d, (level - 1) * d)`` with ``d = target - q``.

    :param quantiles: ``(..., levels)``.
    :param target: ``(...)``.
    :param levels: ``(levels,)``, between 0 and 1.
    :returns: like ``quantiles``.
    """
    difference = target[..., None] - quantiles
    return torch.maximum(levels * difference, (levels - 1) * difference)


def observed_mean(values: Tensor, observed: Tensor) -> Tensor:
    """Return the mean over observed entries; 0 when there is none."""
    kept = torch.where(observed, values, 0)
    return kept.sum() / observed.sum().clamp(min=1)


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Return the training loss over observed steps of all channels.

    :param outputs: ``forecast`` ``(batch, h, channels)`` and ``quantiles`` ``(..., levels)``.
    :param batch: ``target`` and ``target_observed`` like the forecast, ``levels``
        ``(batch, levels)`` where quantiles are forecast.
    :returns: the mean squared error; with quantiles twice the mean pinball loss, so that the
        median's part is the absolute error.
    """
    target, observed = batch["target"], batch["target_observed"]
    if not outputs["quantiles"].shape[-1]:
        return observed_mean((outputs["forecast"] - target).square(), observed)
    each = pinball(outputs["quantiles"], target, batch["levels"][0].to(target))
    return 2 * observed_mean(each.mean(-1), observed)
