"""What the builders of tables share: coordinates, sorting by keys, and views of a grid.

Everything is a few tensor operations over all tokens at once; no loop runs over tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Device = torch.device | str
Builder = Callable[..., Tensor]
"""``(shape, *, device) -> (K, L)``."""


def arithmetic(build: Builder) -> Builder:
    """Mark a builder that only computes with the sizes, and never asks what they are.

    Such an order goes into an exported graph as it is, for grids of any size; of others the graph
    holds the table of one shape.
    """
    build.arithmetic = True  # type: ignore[attr-defined]
    return build


def ids(shape: Sequence[int], device: Device) -> Tensor:
    """Return the token ids in the form of their grid, int64 ``shape``."""
    return torch.arange(math.prod(shape), device=device).view(tuple(shape))


def coordinates(shape: Sequence[int], device: Device) -> list[Tensor]:
    """Return each token's coordinate along each axis, int64 ``(L,)`` each, in id order."""
    axes = [torch.arange(size, device=device) for size in shape]
    return [c.flatten() for c in torch.meshgrid(*axes, indexing="ij")]


def by_keys(*keys: Tensor) -> Tensor:
    """Return the order that sorts by the keys, the first one before all others.

    :param keys: non-negative int64 ``(L,)`` each. Ties keep the tokens' own order.
    :returns: int64 ``(1, L)``.
    """
    return joint_key(*keys).argsort(stable=True)[None]


def joint_key(*keys: Tensor) -> Tensor:
    """Return one key that sorts like the tuple of keys."""
    key = keys[0]
    for further in keys[1:]:
        key = key * (int(further.max()) + 1) + further
    return key


def through(view: Tensor, build: Callable[[tuple[int, ...]], Tensor]) -> Tensor:
    """Build an order for a view of the grid (turned, mirrored, transposed) and name its tokens.

    :param view: int64 ids of the grid's tokens, arranged as the view shows them.
    :param build: makes the order of a shape; ids from ``view.numel()`` on are extra tokens and
        stay what they are, as does -1.
    :returns: the same order in the grid's own ids.
    """
    order = build(tuple(view.shape))
    tokens = view.flatten()
    here = (order >= 0) & (order < len(tokens))
    return torch.where(here, tokens[order.clamp(0, len(tokens) - 1)], order)


def bits_for(size: int) -> int:
    """Return how many bits number ``size`` places, at least one."""
    return max(1, (size - 1).bit_length())


def interleave(digits: Sequence[Tensor], bits: int) -> Tensor:
    """Interleave the bits of several numbers; of each group of bits the first number's leads.

    :param digits: int64 ``(L,)`` each, below ``2 ** bits``.
    """
    key = torch.zeros_like(digits[0])
    for bit in range(bits - 1, -1, -1):
        for digit in digits:
            key = (key << 1) | ((digit >> bit) & 1)
    return key
