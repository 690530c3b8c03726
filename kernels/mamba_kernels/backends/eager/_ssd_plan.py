"""Where the sequences of an SSD call lie among chunks of time.

A chunk never straddles two sequences, so nothing of one, not even a NaN, can reach the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mamba_kernels.backends.layout import bounds_of, check_order

CHUNK = 64


@dataclass
class Chunks:
    """The call cut into chunks; Q independent scans of n chunks each."""

    x: Tensor  # (Q, n, c, h, P)
    dt: Tensor  # (Q, n, c, h), finished
    A: Tensor  # (Q, h)
    B: Tensor  # (Q, n, c, N)
    C: Tensor  # (Q, n, c, N)
    h0: Tensor | None  # (S, Q, h, P, N)


@dataclass(frozen=True)
class Plan:
    """Where each sequence begins and ends among the chunks."""

    chunk: int
    count: int
    length: int
    first: dict[int, int]  # chunk -> sequence that starts there
    last: dict[int, int]  # chunk -> sequence that ends there
    sequences: int
    index: Tensor | None  # (count * chunk,) token of each place, `length` where there is none

    def cut(self, t: Tensor) -> Tensor:
        """``(L, Q, ...)`` -> ``(Q, n, c, ...)``; zeros where there is no token."""
        if self.index is None:
            spare = self.count * self.chunk - self.length
            t = torch.cat([t, t.new_zeros(spare, *t.shape[1:])]) if spare else t
        else:
            t = torch.cat([t, t.new_zeros(1, *t.shape[1:])]).index_select(0, self.index)
        return t.transpose(0, 1).unflatten(1, (self.count, self.chunk))

    def join(self, t: Tensor) -> Tensor:
        """The inverse of :meth:`cut`, ``(L, Q, ...)``."""
        t = t.flatten(1, 2).transpose(0, 1)
        if self.index is None:
            return t[: self.length]
        whole = t.new_empty(self.length + 1, *t.shape[1:])
        whole[self.index] = t
        return whole[: self.length]


def make_plan(cu_seqlens: Tensor | None, length: int, order: Tensor | None) -> Plan:
    bounds = bounds_of(cu_seqlens, length)
    check_order(order, bounds)
    mean = length / max(len(bounds), 1)
    chunk = next((c for c in (16, 32) if mean <= c), CHUNK)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    places: list[Tensor] = []
    count = 0
    for sequence, (start, end) in enumerate(bounds):
        if end > start:
            here = -(-(end - start) // chunk)
            first[count] = sequence
            count += here
            last[count - 1] = sequence
            if cu_seqlens is not None:
                tokens = torch.arange(start, start + here * chunk)
                places.append(tokens.masked_fill_(tokens >= end, length))
    index = torch.cat(places).to(cu_seqlens.device) if cu_seqlens is not None and places else None
    count = max(count, 1)  # no tokens at all: one chunk of nothing
    return Plan(chunk, count, length, first, last, len(bounds), index)
