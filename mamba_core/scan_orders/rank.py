"""The inverse of an order, as a type of its own.

An order ``p`` (``sequence[k] = tokens[p[k]]``) and its rank ``r`` (``r[p[k]] = k``) have the
same shape and dtype, and using one where the other belongs gives plausible wrong results. A
:class:`Rank` is not a tensor, so ops and mixers refuse it where an order belongs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rank:
    """Where each token stands in the sequence: ``positions[..., token] = k``.

    Made by :func:`mamba_core.scan_orders.inverse`.
    """

    positions: Tensor
    """int64 ``(..., L)``."""

    def restore(self, sequence: Tensor, dim: int = -2) -> Tensor:
        """Put a scanned sequence back into token order.

        :param sequence: any dtype, size ``L`` along ``dim``.
        :param dim: the axis that was permuted.
        :returns: a tensor of the same shape; entry ``t`` along ``dim`` is the one computed for
            token ``t``.
        :raises ValueError: for a rank of several paths; restore those one at a time.
        """
        if self.positions.dim() != 1:
            raise ValueError(
                f"restore needs the rank of one path, this one has shape "
                f"{tuple(self.positions.shape)}; use rank[k]"
            )
        return sequence.index_select(dim, self.positions)

    def __getitem__(self, path: int) -> Rank:
        """Return the rank of one path."""
        return Rank(self.positions[path])


def inverse(order: Tensor) -> Rank:
    """Invert one or several orders.

    :param order: int64 ``(..., L)``, each row a permutation of ``0 .. L-1``.
    :returns: the rank ``r`` with ``r[p[k]] = k``.
    :raises TypeError: if ``order`` is a :class:`Rank` already.
    """
    if isinstance(order, Rank):
        raise TypeError("inverse takes an order, got a Rank: its order is argsort(rank.positions)")
    positions = torch.empty_like(order)
    steps = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return Rank(positions.scatter_(-1, order, steps))
