"""Several sets of tokens in one sequence, each with an order of its own.

Modalities, scales or registers stand one after another; paths that run backwards run through the
sets backwards too. Sequences of different sizes are packed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from mamba_core.scan_orders.lookup import NamedOrder, get
from mamba_registry.errors import ScanOrderError

Shape = tuple[int, ...]


class Segments:
    """The sets of a sequence, in the order in which they are read.

    ``Segments(image="hilbert", text="raster")`` reads an image's tokens along a Hilbert curve,
    then the text. An order may have extra tokens (``"hilbert:tokens(head)"``); they belong to
    its set.

    :param both_ways: also the whole sequence backwards, K more paths.
    :param orders: each set's order of the shape, by the set's name.
    """

    def __init__(self, both_ways: bool = False, **orders: str) -> None:
        if not orders:
            raise ScanOrderError("Segments needs at least one set: Segments(image='hilbert', ...)")
        self.both_ways = both_ways
        self.orders = {name: _whole(name, get(text)) for name, text in orders.items()}
        counts = {name: order.paths for name, order in self.orders.items()}
        self.paths = max(counts.values())
        if set(counts.values()) - {1, self.paths}:
            raise ScanOrderError(f"orders of segments have {counts} paths: all the same, or one")

    def layout(self, *sequences: Mapping[str, Shape]) -> Layout:
        """Return where everything stands.

        :param sequences: for each sequence its sets' shapes, by name; a set may be missing. With
            one sequence tensors are ``(B, L, D)``; several are packed, ``(1, sum of L, D)``.
        :raises ScanOrderError: for a set that there is no order for.
        """
        unknown = [name for sizes in sequences for name in sizes if name not in self.orders]
        if unknown:
            raise ScanOrderError(f"no order for the set '{unknown[0]}'; there are {[*self.orders]}")
        sizes = [
            {name: self._size(name, shapes[name]) for name in self.orders if name in shapes}
            for shapes in sequences
        ]
        return Layout(self, tuple(dict(shapes) for shapes in sequences), tuple(sizes))

    def _size(self, name: str, shape: Shape) -> int:
        return math.prod(shape) + self.orders[name].extra(shape)


@dataclass(frozen=True)
class Layout:
    """The places of all tokens of one sequence, or of several packed ones."""

    segments: Segments
    shapes: tuple[dict[str, Shape], ...]
    sizes: tuple[dict[str, int], ...]
    """Tokens of each set in each sequence, extra ones included."""

    @property
    def cu_seqlens(self) -> Tensor:
        """Edges of the sequences, int32 ``(sequences + 1,)``."""
        lengths = [sum(sizes.values()) for sizes in self.sizes]
        return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)

    def totals(self) -> dict[str, int]:
        """Return each set's tokens in all sequences together."""
        return {n: sum(sizes.get(n, 0) for sizes in self.sizes) for n in self.segments.orders}

    def order(self, *, device: torch.device | str = "cpu") -> Tensor:
        """Return the paths through the joined tokens, int64 ``(K, L)``."""
        whole, start = [], 0
        for shapes, sizes in zip(self.shapes, self.sizes, strict=True):
            parts = []
            for name, size in sizes.items():
                table = self.segments.orders[name](shapes[name], device=device) + start
                parts.append(table.expand(self.segments.paths, -1))
                start += size
            paths = torch.cat(parts, dim=1) if parts else self._empty(device)
            whole.append(torch.cat([paths, paths.flip(-1)]) if self.segments.both_ways else paths)
        return torch.cat(whole, dim=1)

    def _empty(self, device: torch.device | str) -> Tensor:
        return torch.empty(self.segments.paths, 0, dtype=torch.int64, device=device)

    def join(self, sets: Mapping[str, Tensor]) -> Tensor:
        """Put the sets' tokens into one tensor, ``(..., L, D)``.

        :param sets: ``(..., size, D)`` each; of packed sequences, each set's tokens of the first
            sequence, then of the second, and so on.
        :raises ScanOrderError: for a set that is missing or has another number of tokens.
        """
        totals = self.totals()
        for name, total in totals.items():
            if total and (name not in sets or sets[name].shape[-2] != total):
                have = sets[name].shape[-2] if name in sets else "no"
                raise ScanOrderError(f"the set '{name}' has {total} tokens here; {have} are given")
        given = [sets[name] for name, total in totals.items() if total]
        return torch.cat(given, dim=-2).index_select(-2, self._source().to(given[0].device))

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """Take the joined tokens apart again: the exact inverse of :meth:`join`."""
        source = self._source().to(x.device)
        by_set = torch.empty_like(x).index_copy(-2, source, x)
        totals = {name: total for name, total in self.totals().items() if total}
        return dict(zip(totals, by_set.split(list(totals.values()), dim=-2), strict=True))

    def _source(self) -> Tensor:
        """For each place of the sequence, where its token stands when sets are concatenated."""
        totals = list(self.totals().values())
        first = dict(zip(self.segments.orders, [0, *accumulate(totals)], strict=False))
        pieces = []
        for sizes in self.sizes:
            for name, size in sizes.items():
                pieces.append(torch.arange(first[name], first[name] + size))
                first[name] += size
        return torch.cat(pieces) if pieces else torch.empty(0, dtype=torch.int64)


def _whole(name: str, order: object) -> NamedOrder:
    if isinstance(order, NamedOrder) and order.cover == "all" and not order.folded:
        return order
    raise ScanOrderError(
        f"the set '{name}' needs an order of the shape whose every path reads all its tokens"
    )
