"""Tokens that are no part of the grid: class tokens, registers, line ends.

An order is made for the grid; then one function puts the extra tokens into its paths at stated
places. In the tensor of tokens they come after the grid's, so that the e-th of them is token
``M + e`` of M.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from mamba_registry.errors import ScanOrderError

Where = Literal["head", "tail", "middle", "ends", "spread", "lines"]
"""``head``, ``tail``, ``middle``: before, after, in the middle of the sequence (Vim's class token
stands in the middle). ``ends``: half of them before and half after. ``spread``: registers at even
distances (Mamba-Reg). ``lines``: one after each row of the grid (DiM's pad tokens)."""


def places(where: Where, length: int, count: int, *, line: int = 0) -> list[int]:
    """Return where ``count`` extra tokens stand in a sequence of ``length + count``.

    ``middle`` is ``length // 2`` (Vim, 2401.09417). ``spread`` follows Mamba-Reg (2405.14858):
    one register after every ``length // (count + 1)`` tokens.

    :param line: tokens in a row of the grid, for ``lines``.
    :raises ScanOrderError: for a count that the place does not allow.
    """
    if where == "lines":
        return [(row + 1) * (line + 1) - 1 for row in range(count)]
    if where == "spread":
        gap = length // (count + 1)
        return [(r + 1) * (gap + 1) - 1 for r in range(count)]
    if where == "ends":
        if count % 2:
            raise ScanOrderError(
                f"tokens(ends, {count}): half of them stand at each end, so the number must be even"
            )
        half = count // 2
        return [*range(half), *range(length + half, length + count)]
    starts = {"head": 0, "middle": length // 2, "tail": length}
    if where not in starts:
        raise ScanOrderError(f"{where!r} is no place for tokens: {', '.join(get_args(Where))}")
    return [starts[where] + e for e in range(count)]


def insert(order: Tensor, positions: Sequence[int]) -> Tensor:
    """Put extra tokens into every path of an order.

    :param order: int64 ``(K, M)``.
    :param positions: index of the e-th extra token in the longer sequence; distinct.
    :returns: int64 ``(K, M + E)``; the e-th extra token has the id ``M + e``.
    :raises ScanOrderError: for a position that is outside, or given twice.
    """
    length, count = order.shape[-1], len(positions)
    wrong = [
        p for e, p in enumerate(positions) if not 0 <= p < length + count or p in positions[:e]
    ]
    if wrong:
        raise ScanOrderError(
            f"extra token at position {wrong[0]}: positions are distinct and lie in 0 .. "
            f"{length + count - 1}"
        )
    at = torch.tensor(list(positions), dtype=torch.int64, device=order.device)
    longer = order.new_empty(*order.shape[:-1], length + count)
    free = torch.ones(length + count, dtype=torch.bool, device=order.device)
    free[at] = False
    longer[..., free] = order
    longer[..., at] = torch.arange(length, length + count, device=order.device)
    return longer
