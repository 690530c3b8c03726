"""Training on interactions in memory: the loop behind ``Recommender.fit``.

``mamba-core train`` does the same with checkpoints and many processes; this one needs no extra.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mamba_core.file_batches import Progress
from mamba_core.training.data import SampleStream
from mamba_core.training.optim import lr_share, make_optimizer, update_average
from mamba_recsys.evaluation import evaluate
from mamba_recsys.interactions import InteractionError, Interactions, Parts
from mamba_recsys.next_item.config import NextItemTrain
from mamba_recsys.next_item.data import TrainSplit
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.next_item.objective import loss
from mamba_recsys.next_item.scorer import ModelScorer


@dataclass(frozen=True)
class FitResult:
    """What a training came to."""

    loss: float
    """Mean over the last batches, in nats."""
    ndcg: float | None
    """NDCG@10 on validation of the weights that were kept; None without validation."""
    steps: int


def fit(
    model: NextItemModel,
    split: TrainSplit,
    data: Interactions,
    parts: Parts,
    config: NextItemTrain,
    *,
    max_length: int | None,
    progress: Progress | None = None,
) -> FitResult:
    """Train a model and keep the weights that were best on validation, if there is any.

    :param split: the histories to learn from, at least one.
    :param max_length: events that are read to validate.
    :param config: steps, optimiser, patience, precision; its device and strategy are not used.
    :raises InteractionError: without histories.
    :raises ValueError: for a loss that is not finite.
    """
    if not len(split):
        raise InteractionError(
            "no history of a user or session has two training events: give longer ones"
        )
    per_epoch = -(-len(split) // config.batch_size)
    steps = config.max_steps or config.max_epochs * per_epoch
    every = min(config.val_every or per_epoch, steps)
    optimizer = make_optimizer(model, config)
    schedule = LambdaLR(optimizer, lr_share(config, steps))
    average = copy.deepcopy(model).requires_grad_(False) if config.ema else None
    stream = iter(SampleStream(len(split), config.batch_size, seed=config.seed, start=0))
    recent: list[float] = []
    kept, best, waited, done = None, -1.0, 0, 0
    while done < steps:
        recent = [*recent[-20:], _step(model, split, next(stream), optimizer, config, done)]
        schedule.step()
        done += 1
        if average is not None and config.ema is not None:
            update_average(average, model, config.ema, done)
        if progress is not None:
            progress("training", done, steps)
        if len(parts.val) and (done % every == 0 or done == steps):
            chosen = average if average is not None else model
            score = _validate(chosen, data, parts, max_length)
            waited = 0 if score > best else waited + 1
            if score > best:
                best, kept = score, copy.deepcopy(chosen.state_dict())
            if config.patience is not None and waited >= config.patience:
                break
    model.load_state_dict(kept or (average or model).state_dict())
    model.eval()
    return FitResult(float(np.mean(recent)), best if kept else None, done)


def _step(
    model: NextItemModel,
    split: TrainSplit,
    places: list[tuple[int, int]],
    optimizer: torch.optim.Optimizer,
    config: NextItemTrain,
    done: int,
) -> float:
    """One step of the optimiser; returns the loss."""
    model.train()
    batch = split.collate([split.sample(*place) for place in places])
    with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
        outputs = model(
            batch["items"],
            batch["times"],
            batch["cu_seqlens"],
            batch["event_codes"],
            batch["event_numbers"],
        )
        value = loss(outputs, batch)
    if not torch.isfinite(value):
        raise ValueError(f"the loss is {value.item()} at step {done}: try a lower lr")
    optimizer.zero_grad()
    value.backward()
    if config.clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    optimizer.step()
    return float(value.detach())


def _validate(
    model: NextItemModel, data: Interactions, parts: Parts, max_length: int | None
) -> float:
    """NDCG@10 among all items."""
    model.eval()
    found = evaluate(ModelScorer(model, max_length), data, parts.val)
    return float(found.table()["ndcg@10"][0])
