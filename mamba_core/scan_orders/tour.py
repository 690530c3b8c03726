"""A learned order of variates: which one is best read after which (MambaTS, 2405.16440)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mamba_registry.errors import ScanOrderError


class VariateTour(nn.Module):
    """Collects what transitions cost in training; then a tour through all variates is solved.

    In training read each sample's variates in an order of its own (:func:`torch.randperm`) and
    :meth:`record` its loss; once, before evaluation, :meth:`solve`. ``tour`` is a buffer and is
    saved with the model.

    :param variates: C, their number.
    """

    cost: Tensor
    count: Tensor
    tour: Tensor

    def __init__(self, variates: int) -> None:
        super().__init__()
        self.register_buffer("cost", torch.zeros(variates, variates))
        self.register_buffer("count", torch.zeros(variates, variates))
        self.register_buffer("tour", torch.arange(variates))

    @torch.no_grad()
    def record(self, order: Tensor, loss: Tensor) -> None:
        """Add the loss of each sample to every transition it made.

        The first variate counts on the diagonal. Losses are divided by their standard deviation
        over the batch, as in the paper's code.

        :param order: int64 ``(B, C)``.
        :param loss: ``(B,)``.
        """
        scale = loss.std() if len(loss) > 1 else loss.new_ones(())
        loss = loss / scale if scale > 0 else loss
        before = torch.cat([order[:, :1], order[:, :-1]], dim=1)
        spread = loss[:, None].expand(order.shape).to(self.cost)
        index = (before.flatten(), order.flatten())
        self.cost.index_put_(index, spread.flatten(), accumulate=True)
        self.count.index_put_(index, torch.ones_like(spread).flatten(), accumulate=True)

    def solve(
        self, solver: Literal["greedy", "annealing"] = "annealing", *, seed: int = 0
    ) -> Tensor:
        """Find a cheap tour, keep it in ``tour`` and return it, int64 ``(C,)``.

        Transitions nobody made cost the mean of the others.

        :param solver: ``greedy`` goes on to the cheapest variate not yet read; ``annealing``
            improves that by simulated annealing.
        :raises ScanOrderError: when nothing was recorded.
        """
        if not bool(self.count.any()):
            raise ScanOrderError("nothing was recorded: call record(order, loss) in training")
        mean = self.cost / self.count
        mean = torch.where(self.count > 0, mean, mean[self.count > 0].mean())
        tour = greedy_tour(mean)
        if solver == "annealing":
            tour = annealed_tour(mean, tour, seed=seed)
        self.tour.copy_(tour)
        return self.tour


def tour_cost(cost: Tensor, tour: Tensor) -> float:
    """Return a tour's cost: the first variate's on the diagonal, then each transition's."""
    return float(cost[tour[0], tour[0]] + cost[tour[:-1], tour[1:]].sum())


def greedy_tour(cost: Tensor) -> Tensor:
    """Start at the cheapest variate, then always take the cheapest transition to a new one."""
    left = cost.clone()
    at = int(cost.diagonal().argmin())
    tour = [at]
    for _ in range(len(cost) - 1):
        left[:, at] = float("inf")
        at = int(left[at].argmin())
        tour.append(at)
    return torch.tensor(tour, device=cost.device)


def annealed_tour(cost: Tensor, tour: Tensor, *, seed: int = 0, steps: int = 5000) -> Tensor:
    """Improve a tour by moving one variate at a time; never returns a dearer one.

    :param steps: proposals; the temperature falls from a tenth of the mean cost to zero.
    """
    generator = torch.Generator().manual_seed(seed)
    best, best_cost = tour, tour_cost(cost, tour)
    current, current_cost = best, best_cost
    start = float(cost.abs().mean()) / 10
    for step in range(steps if len(tour) > 1 else 0):
        source, target = torch.randint(len(tour), (2,), generator=generator).tolist()
        rest = torch.cat([current[:source], current[source + 1 :]])
        proposed = torch.cat([rest[:target], current[source : source + 1], rest[target:]])
        proposed_cost = tour_cost(cost, proposed)
        heat = start * (1 - step / steps)
        luck = float(torch.rand((), generator=generator))
        rise = proposed_cost - current_cost
        if rise <= 0 or (heat > 0 and luck < math.exp(-rise / heat)):
            current, current_cost = proposed, proposed_cost
            if current_cost < best_cost:
                best, best_cost = current, current_cost
    return best
