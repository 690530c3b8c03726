"""The two shapes an order can have: from a grid's shape, or from the data itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class ShapeOrder(Protocol):
    """An order that depends on nothing but the token grid's shape."""

    def __call__(self, shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> Tensor:
        """Return the paths as int64 ``(K, L)`` with ``L = prod(shape)``.

        Row ``k`` is an order ``p``: ``sequence[i] = tokens[p[i]]``. Token ids are row-major
        over ``shape``.
        """
        ...


@runtime_checkable
class DataOrder(Protocol):
    """An order read off the data: node degrees, attention scores, content.

    ``inputs`` names the entries of ``context`` that the order reads, so that a task can tell at
    build time whether it provides them.
    """

    inputs: tuple[str, ...]

    def __call__(self, context: Mapping[str, Tensor]) -> Tensor:
        """Return int64 ``(B, L)``, or ``(sum of L,)`` for packed sequences.

        In the packed form each sequence's positions hold ids of that same sequence. An order
        with an attribute ``paths`` above 1 returns ``(B, K, L)`` or ``(K, sum of L)``.
        """
        ...
