"""Training on windows in memory: the loop behind ``Forecaster.fit``.

``mamba-core train`` does the same with checkpoints and many processes; this one needs no extra.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from mamba_core.training.data import SampleStream
from mamba_core.training.optim import lr_share, make_optimizer, update_average
from mamba_timeseries.forecast.config import ForecastTrain
from mamba_timeseries.forecast.data import Sample, WindowSplit
from mamba_timeseries.forecast.model import ForecastModel, Outputs
from mamba_timeseries.forecast.networks.mamba_ts import MambaTSNetwork
from mamba_timeseries.forecast.objective import loss
from mamba_timeseries.forecast.progress import Progress
from mamba_timeseries.forecast.protocol import Array
from mamba_timeseries.forecast.tour import TransitionCosts, cheapest_tour

_BATCH = 256
"""Windows at once where no gradient is kept."""


@dataclass(frozen=True)
class FitResult:
    """What a training came to."""

    loss: float
    """On the validation windows, of the weights that were kept; on the last batches without."""
    steps: int


def batch_of(split: WindowSplit, indices: list[int]) -> Sample:
    """Return some windows as a batch."""
    samples = [split.sample(0, i) for i in indices]
    return {name: torch.stack([s[name] for s in samples]) for name in samples[0]}


def run(model: ForecastModel, batch: Sample) -> Outputs:
    """Call the model with what it takes of a batch."""
    return model(batch["past"], batch["observed"], batch["known"])


def fit(
    model: ForecastModel,
    train: WindowSplit,
    val: WindowSplit,
    config: ForecastTrain,
    *,
    progress: Progress | None = None,
) -> FitResult:
    """Train a model and keep the weights that were best on validation.

    :param train: windows to learn from, at least one.
    :param val: windows to choose by; without any the last weights are kept.
    :param config: steps, optimiser, patience; its precision, device and strategy are not used.
    :raises ValueError: without training windows, or for a loss that is not finite.
    """
    if not len(train):
        raise ValueError(
            f"no training window of h = {model.config.h} fits: give longer series or a smaller h"
        )
    per_epoch = -(-len(train) // config.batch_size)
    steps = config.max_steps or config.max_epochs * per_epoch
    every = min(config.val_every or per_epoch, steps)
    optimizer = make_optimizer(model, config)
    schedule = LambdaLR(optimizer, lr_share(config, steps))
    average = copy.deepcopy(model).requires_grad_(False) if config.ema else None
    kept, best, waited, recent = model.state_dict(), float("inf"), 0, [0.0]
    stream = iter(SampleStream(len(train), config.batch_size, seed=config.seed, start=0))
    done = 0
    while done < steps:
        model.train()
        batch = batch_of(train, [index for _, index in next(stream)])
        value = loss(run(model, batch), batch)
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {value.item()} at step {done}: try a lower lr")
        optimizer.zero_grad()
        value.backward()
        if config.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        done += 1
        recent = [*recent[-20:], float(value.detach())]
        if average is not None and config.ema is not None:
            update_average(average, model, config.ema, done)
        if progress is not None:
            progress("training", done, steps)
        if len(val) and (done % every == 0 or done == steps):
            chosen = average if average is not None else model
            score = mean_loss(chosen, val)
            waited = 0 if score < best else waited + 1
            if score < best:
                best, kept = score, copy.deepcopy(chosen.state_dict())
            if config.patience is not None and waited >= config.patience:
                break
    if not len(val):
        kept, best = (average or model).state_dict(), float(np.mean(recent))
    model.load_state_dict(kept)
    model.eval()
    return FitResult(best, done)


@torch.no_grad()
def mean_loss(model: ForecastModel, split: WindowSplit) -> float:
    """Return the loss over all windows of a split, each window counting the same."""
    model.eval()
    total = 0.0
    for start in range(0, len(split), _BATCH):
        indices = list(range(start, min(start + _BATCH, len(split))))
        batch = batch_of(split, indices)
        total += float(loss(run(model, batch), batch)) * len(indices)
    return total / len(split)


@torch.no_grad()
def fit_tour(
    model: ForecastModel,
    split: WindowSplit,
    *,
    rounds: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> None:
    """Learn in which order MambaTS reads channels, and keep it in the model.

    Every window of ``split`` (at most 2,048 of them, evenly spread) is forecast under random
    tours, its squared error charged to the transitions of its own tour.

    :param rounds: random tours per window.
    :raises TypeError: for another network.
    """
    network = model.network
    if not isinstance(network, MambaTSNetwork):
        raise TypeError(f"{type(network).__name__} reads no tour: only 'mamba_ts' does")
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    channels = model.config.channels
    costs = TransitionCosts(channels)
    spread = np.linspace(0, len(split) - 1, min(len(split), 2048)).astype(int).tolist()
    before = network.tour.clone()
    for start in range(0, len(spread), _BATCH):
        batch = batch_of(split, spread[start : start + _BATCH])
        for _ in range(rounds):
            tours = torch.rand(len(batch["past"]), channels, generator=generator).argsort(-1)
            costs.add(tours, _losses(model, batch, tours))
        if progress is not None:
            progress("tour of channels", min(start + _BATCH, len(spread)), len(spread))
    tour = cheapest_tour(costs.mean(), seed=seed)
    network.tour.copy_(torch.from_numpy(tour).to(before))


def _losses(model: ForecastModel, batch: Sample, tours: Tensor) -> Tensor:
    """Mean squared error of each window, read along its own tour."""
    network = model.network
    assert isinstance(network, MambaTSNetwork)
    held = network.tour
    try:
        network.tour = tours  # one row per window: `expand` leaves it as it is
        forecast = run(model, batch)["forecast"]
    finally:
        network.tour = held
    return (forecast - batch["target"]).square().flatten(1).mean(1)


def share_of_alike(values: Array, threshold: float = 0.6) -> float:
    """Return how much channels resemble each other, Bi-Mamba+'s measure (2404.15772).

    Spearman's rho of all pairs; the channel with most partners at or above ``threshold``, over
    the one with most that are not negative.

    :param values: ``(steps, channels)``, training rows.
    :returns: between 0 and 1; 0 for a single channel.
    """
    ranks = values.argsort(0).argsort(0).astype(float)
    rho = np.atleast_2d(np.corrcoef(ranks, rowvar=False))
    np.fill_diagonal(rho, -1)
    positive = (rho >= 0).sum(0).max()
    return float((rho >= threshold).sum(0).max() / positive) if positive else 0.0


def are_alike(values: Array, threshold: float = 0.6) -> bool:
    """Return Bi-Mamba+'s choice: whether a sequence should be made of channels.

    :param values: ``(steps, channels)``, training rows.
    """
    return share_of_alike(values, threshold) >= 1 - threshold
