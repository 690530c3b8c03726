"""What all backends share: working dtypes, scan orders, and the boundaries of packed sequences.

Inside a backend tensors are time-major, ``(L, B, K, ...)``, and in scan order: entry t is what
path k reads at step t.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor


def working_dtype(*tensors: Tensor | None) -> torch.dtype:
    """Float64 when any tensor is (complex) double, else float32: states are never narrower."""
    double = (torch.float64, torch.complex128)
    return (
        torch.float64
        if any(t is not None and t.dtype in double for t in tensors)
        else torch.float32
    )


def time_first(x: Tensor) -> Tensor:
    """``(..., L)`` -> ``(L, ...)``, contiguous.

    As one matrix, which PyTorch transposes tile by tile: six times faster than a strided copy.
    """
    if not x.is_contiguous():
        return x.movedim(-1, 0).contiguous()
    return x.flatten(0, -2).t().contiguous().view(x.shape[-1], *x.shape[:-1])


def time_last(x: Tensor) -> Tensor:
    """The inverse of :func:`time_first`."""
    if not x.is_contiguous():
        return x.movedim(0, -1).contiguous()
    return x.flatten(1).t().contiguous().view(*x.shape[1:], x.shape[0])


def check_order(order: Tensor | None, bounds: list[tuple[int, int]]) -> None:
    """Raise ``ValueError`` unless each path visits each token of each sequence exactly once.

    Only where looking is free: on an accelerator it would wait for the device.
    """
    if order is None or order.device.type != "cpu" or _in_place(order, bounds):
        return
    for start, end in bounds:
        part = order[..., start:end]
        expected = torch.arange(start, end).expand_as(part)
        if not torch.equal(part.sort(-1).values, expected):
            raise ValueError(
                f"order must read each of the tokens {start}..{end - 1} once between its positions "
                f"{start} and {end - 1}: it repeats or misses tokens, or crosses a sequence. An "
                "order says which token is read at each position"
            )


def _in_place(order: Tensor, bounds: list[tuple[int, int]]) -> bool:
    """Whether all is well with an order: ten times faster than sorting, but not where it fails."""
    length = order.shape[-1]
    if not order.numel():
        return True
    low, high = (int(edge) for edge in order.aminmax())
    if low < 0 or high >= length:
        return False
    seen = torch.zeros(order.shape, dtype=torch.bool).scatter_(-1, order, True)
    if not seen.all():
        return False
    if len(bounds) == 1:
        return True
    sizes = torch.tensor([end - start for start, end in bounds])
    sequence = torch.repeat_interleave(sizes)
    return bool((sequence[order] == sequence).all())


def check_rows(indices: Tensor, rows: int) -> None:
    """Raise ``ValueError`` unless all ``indices`` are rows of the state; looks where it is free."""
    if indices.device.type != "cpu" or not indices.numel():
        return
    low, high = (int(edge) for edge in indices.aminmax())
    if low < 0 or high >= rows:
        raise ValueError(
            f"state_batch_indices must be rows 0..{rows - 1} of the state, got "
            f"{low if low < 0 else high}: leave padding out of the batch"
        )


def _index(order: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Indices ``(L, B, K)`` of token, batch item and path for ``order`` (K, L) or (B, K, L)."""
    tokens = order.expand(batch, *order.shape[-2:]).permute(2, 0, 1)
    items = torch.arange(batch, device=order.device)[:, None]
    paths = torch.arange(order.shape[-2], device=order.device)
    return tokens, items, paths


class _Read(torch.autograd.Function):
    """Gather by an order; its gradient is a plain scatter, since an order repeats no token."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, shared: bool) -> Tensor:
        ctx.save_for_backward(order)
        ctx.shared = shared
        tokens, items, paths = _index(order, x.shape[1])
        return x[tokens, items, torch.zeros_like(paths) if shared else paths]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (order,) = ctx.saved_tensors
        grad = write(grad, order)
        return grad.sum(2, keepdim=True) if ctx.shared else grad, None, None


def read(x: Tensor, order: Tensor | None, *, shared: bool) -> Tensor:
    """Tokens in the order in which each path reads them.

    :param x: ``(L, B, *inner)`` when ``shared`` (all paths read the same tokens), else
        ``(L, B, K, *inner)``; in token order.
    :returns: ``(L, B, K, *inner)`` in scan order; K is 1 without an order.
    """
    x = x.unsqueeze(2) if shared else x
    return x if order is None else _Read.apply(x, order, shared)


def write(y: Tensor, order: Tensor | None) -> Tensor:
    """Back from scan order to token order: the inverse of :func:`read`, ``(L, B, K, *inner)``."""
    if order is None:
        return y
    return torch.empty_like(y).index_put(_index(order, y.shape[1]), y)


def bounds_of(cu_seqlens: Tensor | None, length: int) -> list[tuple[int, int]]:
    """First and one-past-last position of each sequence; one sequence when nothing is packed."""
    if cu_seqlens is None:
        return [(0, length)]
    edges = cu_seqlens.tolist()
    if edges[0] != 0 or edges[-1] != length or any(a > b for a, b in pairwise(edges)):
        raise ValueError(
            f"cu_seqlens must rise from 0 to the packed length {length}, got {edges}: it holds the "
            "start of every sequence and, last, the end of the last one"
        )
    return list(pairwise(edges))


class Segments(NamedTuple):
    """``seq_idx`` as packing: all rows one after another, with the first and last of each row."""

    cu_seqlens: Tensor
    first: Tensor
    last: Tensor


def segments_of(seq_idx: Tensor) -> Segments:
    """Edges of the runs of equal numbers in each row of ``seq_idx`` (B, L)."""
    batch, length = seq_idx.shape
    rows = torch.arange(batch, device=seq_idx.device)
    if length == 0:
        return Segments(torch.zeros(batch + 1, dtype=torch.int64, device=rows.device), rows, rows)
    change = torch.ones_like(seq_idx, dtype=torch.bool)
    change[:, 1:] = seq_idx[:, 1:] != seq_idx[:, :-1]
    count = change.sum(1)
    last = count.cumsum(0) - 1
    end = torch.tensor([batch * length], device=seq_idx.device)
    return Segments(torch.cat([change.flatten().nonzero()[:, 0], end]), last - count + 1, last)
