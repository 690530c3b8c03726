"""Sequences of many lengths: packed end to end, and in padded rows where an op needs those."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def places(cu_seqlens: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Return the sequence of each token and its place in there, int64 ``(total,)`` each.

    :param cu_seqlens: int ``(sequences + 1,)``.
    """
    edges = cu_seqlens.long()
    lengths = edges.diff()
    sequence = torch.repeat_interleave(
        torch.arange(len(lengths), device=edges.device), lengths, output_size=total
    )
    return sequence, torch.arange(total, device=edges.device) - edges[sequence]


def pad(x: Tensor, cu_seqlens: Tensor) -> Tensor:
    """``(total, ...)`` packed -> ``(sequences, longest, ...)``, zeros behind each sequence."""
    sequence, step = places(cu_seqlens, x.shape[0])
    longest = int(cu_seqlens.diff().max()) if len(cu_seqlens) > 1 else 0
    rows = x.new_zeros(len(cu_seqlens) - 1, longest, *x.shape[1:])
    return rows.index_put((sequence, step), x)


def unpad(rows: Tensor, cu_seqlens: Tensor) -> Tensor:
    """``(sequences, longest, ...)`` -> ``(total, ...)``: the inverse of :func:`pad`."""
    return rows[places(cu_seqlens, int(cu_seqlens[-1]))]


def edges(lengths: Tensor) -> Tensor:
    """Return where sequences of these lengths begin when packed, and the total, int32."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(torch.int32)


def pairs(lists: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Return the row and the value of every entry of some lists, int64 ``(entries,)`` each."""
    rows = np.repeat(np.arange(len(lists)), [len(own) for own in lists])
    values = np.concatenate([np.zeros(0, dtype=np.int64), *lists])
    return torch.from_numpy(rows), torch.from_numpy(values)


def one_each(cu_seqlens: Tensor) -> bool:
    """Whether every sequence has one token, as when each user brings one event."""
    return bool((cu_seqlens.diff() == 1).all())


def last(x: Tensor, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the last token of each sequence ``(sequences, ...)``, and where there is one.

    Rows of empty sequences hold some other token.
    """
    ends = cu_seqlens[1:].long()
    return x[(ends - 1).clamp(min=0)], ends > cu_seqlens[:-1].long()
