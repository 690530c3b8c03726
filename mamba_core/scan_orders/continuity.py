"""How far a path moves at a step: what an order declares, and what a table does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

from mamba_registry.specs import Continuity

T = TypeVar("T", bound=Callable[..., Tensor])
_RANKING: tuple[Continuity, ...] = ("unit", "king", "jumps")


def continuous(label: Callable[..., Continuity]) -> Callable[[T], T]:
    """Declare an order's continuity as a function of shape and parameters.

    :param label: ``(shape, **parameters) -> "unit" | "king" | "jumps"``. Orders without this
        decorator have the one label of their record at every shape.
    """

    def decorate(order: T) -> T:
        order.continuity = label  # type: ignore[attr-defined]
        return order

    return decorate


def worst(labels: Iterable[Continuity]) -> Continuity:
    """Return the label that covers all of them."""
    return max(labels, key=_RANKING.index, default="unit")


def steps(path: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the moves of a path, int64 ``(L - 1, dimensions)``.

    :param path: int64 ``(L,)``; slots of -1 and extra tokens are left out.
    """
    path = path[(path >= 0) & (path < math.prod(shape))]
    return torch.stack(torch.unravel_index(path, shape), dim=1).diff(dim=0)


def continuity_of(path: Tensor, shape: tuple[int, ...]) -> Continuity:
    """Return the label of a path as it is."""
    moves = steps(path, shape).abs()
    if not (moves.amax(1) > 1).any():
        return "king" if (moves.sum(1) > 1).any() else "unit"
    return "jumps"


def step_labels(order: Tensor, shape: tuple[int, int]) -> Tensor:
    """Name the move that reached each step: 0 start, 1 right, 2 left, 3 up, 4 down.

    PlainMamba (2403.17695) adds a learned vector per label to B. Moves that are none of these
    (an order with jumps) are refused.

    :param order: int64 ``(K, L)``, every step to a 4-neighbour.
    :returns: int64 ``(K, L)``, in scan order: entry k belongs to token ``order[k]``.
    """
    rows, columns = order // shape[1], order % shape[1]
    down, right = rows.diff(dim=-1), columns.diff(dim=-1)
    if bool((down.abs() + right.abs() != 1).any()):
        raise ValueError("step labels need paths that move to a 4-neighbour at every step")
    labels = (right == 1) + 2 * (right == -1) + 3 * (down == -1) + 4 * (down == 1)
    return torch.nn.functional.pad(labels, (1, 0))
