"""In which order MambaTS reads channels: learnt from what each neighbourhood costs.

Cai et al., 2405.16440: losses under random permutations are averaged per transition, and the
cheapest path through all channels is fixed. Each sample's loss goes to its own transitions
(upstream mixes samples of a batch up), and a transition never seen counts as an average one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mamba_timeseries.forecast.protocol import Array

ORDER = "channel-tour"
"""Name of the scan order below."""


class ChannelTour:
    """A data order: all patches of one channel, then of the next one of the tour."""

    inputs = ("tour", "patches")

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return token ids int64 ``(batch, channels * patches)``.

        :param context: ``tour`` int64 ``(batch, channels)``, ``patches`` int64 ``()``: how many a
            channel has. Token ``(channel, patch)`` has the id ``channel * patches + patch``.
        """
        count = int(context["patches"])
        steps = torch.arange(count, device=context["tour"].device)
        return (context["tour"][..., None] * count + steps).flatten(1)


class TransitionCosts:
    """Mean loss by which channel follows which.

    :param channels: how many there are.
    """

    def __init__(self, channels: int) -> None:
        self.total = np.zeros((channels, channels))
        self.count = np.zeros((channels, channels))

    def add(self, tours: Tensor, losses: Tensor) -> None:
        """Take in the losses of some samples.

        :param tours: int64 ``(batch, channels)``, the order each sample was read in.
        :param losses: ``(batch,)``; their spread in the batch is the unit.
        """
        order = tours.cpu().numpy()
        loss = losses.detach().double().cpu().numpy()
        spread = loss.std()
        loss = (loss - loss.mean()) / (spread if spread > 0 else 1.0)
        before, after = order[:, :-1], order[:, 1:]
        np.add.at(self.total, (before, after), loss[:, None].repeat(before.shape[1], 1))
        np.add.at(self.count, (before, after), 1.0)
        start = order[:, 0]
        np.add.at(self.total, (start, start), loss)
        np.add.at(self.count, (start, start), 1.0)

    def mean(self) -> Array:
        """Return the mean per transition ``(from, to)``; the diagonal is the cost of a start."""
        seen = self.count > 0
        average = self.total.sum() / max(self.count.sum(), 1.0)
        return np.where(seen, self.total / np.where(seen, self.count, 1.0), average)


def cheapest_tour(costs: Array, *, seed: int = 0, steps: int = 4000) -> Array:
    """Return a cheap path through all channels, by simulated annealing from the greedy one.

    :param costs: ``(channels, channels)`` from :meth:`TransitionCosts.mean`.
    :returns: int64 ``(channels,)``; never dearer than the greedy path.
    """
    tour = _greedy(costs)
    if len(tour) < 2:
        return tour
    rng = np.random.default_rng(seed)
    best, best_cost = tour, tour_cost(costs, tour)
    now, now_cost = best, best_cost
    heat = max(float(costs.std()), 1e-12)
    for step in range(steps):
        left, right = np.sort(rng.choice(len(tour) + 1, 2, replace=False))
        tried = now.copy()
        tried[left:right] = tried[left:right][::-1]
        cost = tour_cost(costs, tried)
        temperature = heat * (1 - step / steps) + 1e-12
        if cost <= now_cost or rng.random() < np.exp((now_cost - cost) / temperature):
            now, now_cost = tried, cost
            if cost < best_cost:
                best, best_cost = now, cost
    return best


def tour_cost(costs: Array, tour: Array) -> float:
    """Return what a path costs: its start, and every step."""
    return float(costs[tour[0], tour[0]] + costs[tour[:-1], tour[1:]].sum())


def _greedy(costs: Array) -> Array:
    """The cheapest start, then always the cheapest channel that is left."""
    left = set(range(len(costs)))
    tour = [int(np.argmin(np.diagonal(costs)))]
    left.remove(tour[0])
    while left:
        tour.append(min(left, key=lambda c: costs[tour[-1], c]))
        left.remove(tour[-1])
    return np.array(tour, dtype=np.int64)


channel_tour = ChannelTour()
"""The registered order."""
