"""A short training loop for many small runs: AdamW, warm-up and cosine, the best epoch kept."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mamba_core import registry
from mamba_core.training.data import Split, epoch_order
from mamba_core.training.optim import parameter_groups

Values = dict[str, Tensor]
Decays = Literal["all", "matrices"]
"""``matrices`` leaves biases, norms and the scan's time scales alone, as ``mamba-core train`` does:
a must where the decay is strong."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a model is trained."""

    epochs: int = 50
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 1e-2
    decays: Decays = "all"
    """What ``weight_decay`` is of."""
    warmup: float = 0.05
    """Share of the steps."""
    clip: float = 1.0
    seed: int = 0
    patience: int | None = None
    """Epochs without a better validation score after which to stop."""
    enough: float | None = None
    """Score with which to stop."""
    val_every: int = 1
    """Epochs between validations; the last is validated in any case."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The model of the best epoch, by validation only."""

    model: nn.Module
    score: float
    epoch: int
    seconds: float
    """Of the whole training, of the processor."""
    epochs: int


def batches(split: Split, size: int, epoch: int, order: list[int]) -> Iterator[Values]:
    """Yield the samples of an epoch in an order, collated."""
    for start in range(0, len(order), size):
        samples = [split.sample(epoch, index) for index in order[start : start + size]]
        yield split.collate(samples)  # type: ignore[attr-defined]


def measure(task: str, model: nn.Module, split: Split, size: int) -> dict[str, float]:
    """Return the task's metrics over a split, in eval mode."""
    spec = registry.spec(task)
    metrics = registry.resolve(spec.metrics)()  # type: ignore[arg-type]
    model.eval()
    with torch.inference_mode():
        for batch in batches(split, size, 0, list(range(len(split)))):
            outputs = model(**{name: batch[name] for name in spec.inputs})
            for metric in metrics.values():
                metric.update(outputs, batch)
    return {name: float(metric.compute()) for name, metric in metrics.items()}


def fit(
    task: str, model: nn.Module, train: Split, val: Split, options: FitOptions, score: str
) -> Fitted:
    """Train a model and return it as it was at its best validation score.

    :param score: the metric to choose by; larger is better unless it is ``rmse`` or ``mae``.
    """
    spec = registry.spec(task)
    loss_of: Any = registry.resolve(spec.loss)  # type: ignore[arg-type]
    sign = -1 if score in ("rmse", "mae") else 1
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(_groups(model, options), options.lr, fused=True)
    steps = options.epochs * math.ceil(len(train) / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _share(steps, options.warmup))
    best, state, at = -math.inf, copy.deepcopy(model.state_dict()), 0
    start = time.process_time()
    epoch = 0
    for epoch in range(1, options.epochs + 1):
        model.train()
        order = epoch_order(len(train), options.seed, epoch).tolist()
        for batch in batches(train, options.batch_size, epoch, order):
            optimizer.zero_grad()
            loss = loss_of(model(**{name: batch[name] for name in spec.inputs}), batch)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, options.clip)
            optimizer.step()
            schedule.step()
        if epoch % options.val_every and epoch < options.epochs:
            continue
        value = sign * measure(task, model, val, options.batch_size)[score]
        if value > best:
            best, state, at = value, copy.deepcopy(model.state_dict()), epoch
        if options.patience is not None and epoch - at >= options.patience:
            break
        if options.enough is not None and best >= sign * options.enough:
            break
    seconds = time.process_time() - start
    model.load_state_dict(state)
    return Fitted(model=model.eval(), score=sign * best, epoch=at, seconds=seconds, epochs=epoch)


def _groups(model: nn.Module, options: FitOptions) -> list[dict[str, Any]]:
    decay = options.weight_decay
    if options.decays == "all":
        return [{"params": list(model.parameters()), "weight_decay": decay}]
    return parameter_groups(model, decay)


def _share(steps: int, warmup: float) -> Any:
    rise = max(int(steps * warmup), 1)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min((step - rise) / max(steps - rise, 1), 1)))

    return share
