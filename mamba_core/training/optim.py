"""AdamW with its parameter groups, and the learning rate over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from mamba_core.training.config import TrainConfig


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return what is trained in groups for an optimiser that decays matrices only.

    Vectors (biases, norms, D, dt_bias) and parameters marked ``_no_weight_decay`` (A_log) are
    left alone: decaying them pulls the time scales of the scan towards a fixed value.
    """
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            plain = parameter.ndim < 2 or getattr(parameter, "_no_weight_decay", False)
            (free if plain else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, config: TrainConfig) -> AdamW:
    """Return AdamW that decays matrices only, see :func:`parameter_groups`."""
    groups = parameter_groups(model, config.weight_decay)
    return AdamW(groups, lr=config.lr, betas=config.betas)


def lr_share(config: TrainConfig, steps: int) -> Callable[[int], float]:
    """Return the share of ``config.lr`` at a step: linear warm-up, then a cosine.

    :param steps: where the cosine ends, at ``config.final_lr``.
    """
    warmup = min(config.warmup_steps, steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min((step - warmup) / max(steps - warmup, 1), 1.0)
        return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * done))

    return share


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move averaged weights towards a model's; other state is copied.

    :param step: steps done; the first ones average over a shorter time, or the random start
        would stay in for long.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for mean, now in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)
