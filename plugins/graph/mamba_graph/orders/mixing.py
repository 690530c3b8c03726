"""Whole numbers mixed like a hash: exact, the same on every device, without a generator."""

from __future__ import annotations

import torch
from torch import Tensor

# odd multipliers of splitmix64 (Steele et al. 2014), as signed 64-bit numbers
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685
_STEP = -7046029254386353131


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

    :param values: ``(N, F)`` of any real dtype; what float32 cannot tell apart is equal.
    """
    bits = (values.float() + 0.0).view(torch.int32).long()  # + 0.0 makes -0.0 equal to 0.0
    column = torch.arange(values.shape[1], device=values.device)
    return mixed(bits * 2 + mixed(column)).sum(1)


def fractions(value: Tensor) -> Tensor:
    """Return numbers in [0, 1) from mixed ones, float32 with 24 bits."""
    return (_shifted(value, 40)).float() / 2**24
