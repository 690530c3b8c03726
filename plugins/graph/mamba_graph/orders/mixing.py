"""Whole numbers mixed like a hash: exact, the same on every device, without a generator."""

from __future__ import annotations

import torch
from torch import Tensor

# odd multipliers of splitmix64 (Steele et al. 2014), as signed 64-bit numbers
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685
_STEP = -7046029254386353131
_BLOCK = 64
"""Columns of features that are hashed at once."""


def mixed(value: Tensor) -> Tensor:
    """Return splitmix64 of int64 numbers, the bits as int64; sums and products wrap around."""
    value = value + _STEP
    value = (value ^ _shifted(value, 30)) * _FIRST
    value = (value ^ _shifted(value, 27)) * _SECOND
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, bits: int) -> Tensor:
    """A logical shift: the sign bit does not follow."""
    return (value >> bits) & (2 ** (64 - bits) - 1)


def hashed_rows(values: Tensor) -> Tensor:
    """Return one number per row, int64 ``(N,)``: equal rows have equal ones.

    In blocks of columns: every forward pass does this, and whole numbers of all columns at once
    (twice the room of the features, several times over) leave the processor's cache.

    :param values: ``(N, F)`` of any real dtype; what float32 cannot tell apart is equal.
    """
    bits = (values.float() + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    columns = mixed(torch.arange(values.shape[1], device=values.device))
    total = torch.zeros(values.shape[0], dtype=torch.int64, device=values.device)
    for block, column in zip(bits.split(_BLOCK, 1), columns.split(_BLOCK), strict=True):
        total = total + mixed(block.long() * 2 + column).sum(1)
    return total


def fractions(value: Tensor) -> Tensor:
    """Return numbers in [0, 1) from mixed ones, float32 with 24 bits."""
    return (_shifted(value, 40)).float() / 2**24
