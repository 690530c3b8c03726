"""Reading what has been read: products of orders."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_registry.errors import ScanOrderError


def compose(*orders: Tensor) -> Tensor:
    """Return the order that applies the first, then the second to the sequence it gives, ...

    ``compose(p, q)[k] = p[q[k]]``. Orders of one path go with orders of K paths.

    :param orders: int64 ``(K, L)`` each.
    :returns: int64 ``(K, L)``.
    :raises ScanOrderError: for different lengths, or numbers of paths that do not fit.
    """
    result = orders[0]
    for order in orders[1:]:
        if order.shape[-1] != result.shape[-1]:
            raise ScanOrderError(
                f"orders of {result.shape[-1]} and of {order.shape[-1]} tokens do not compose"
            )
        if len(order) != len(result) and 1 not in (len(order), len(result)):
            raise ScanOrderError(f"{len(result)} paths do not compose with {len(order)}")
        paths = max(len(order), len(result))
        result = torch.gather(result.expand(paths, -1), 1, order.expand(paths, -1))
    return result
