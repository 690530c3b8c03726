"""From a name to the order's table, remembered per shape and device."""

from __future__ import annotations

import builtins
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor

from mamba_core.scan_orders.check import check_order
from mamba_core.scan_orders.protocols import DataOrder, ShapeOrder
from mamba_registry.errors import ScanOrderError
from mamba_registry.specs import ScanOrderSpec

CACHE_BYTES = 64 * 2**20
"""The tables kept in memory, all shapes and devices together."""


class _TableCache:
    """Least recently used tables go first once :data:`CACHE_BYTES` are exceeded."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple, Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: tuple) -> Tensor | None:
        with self._lock:
            table = self._tables.get(key)
            if table is not None:
                self._tables.move_to_end(key)
            return table

    def put(self, key: tuple, table: Tensor) -> None:
        with self._lock:
            if key in self._tables:
                return
            self._tables[key] = table
            self._bytes += table.nbytes
            while self._bytes > CACHE_BYTES and len(self._tables) > 1:
                _, old = self._tables.popitem(last=False)
                self._bytes -= old.nbytes


_cache = _TableCache()


class NamedOrder:
    """A registered :class:`ShapeOrder`: checked once per shape, then remembered.

    Made by :func:`get`. The returned table is shared: do not write into it.
    """

    def __init__(self, spec: ScanOrderSpec, order: ShapeOrder) -> None:
        self.name = spec.name
        self.dims = spec.dims
        self.causal = spec.causal
        self._order = order

    def __call__(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Return the paths of a grid of tokens as int64 ``(K, L)``.

        :param shape: the grid, one size per dimension, each at least 1.
        :raises ScanOrderError: for a shape with another number of dimensions or a zero in it,
            or when the registered function does not return permutations.
        """
        grid = tuple(int(size) for size in shape)
        if self.dims is not None and len(grid) != self.dims:
            raise ScanOrderError(
                f"scan order '{self.name}' is for {self.dims}-d inputs, got the shape {grid}"
            )
        if not grid or min(grid) < 1:
            raise ScanOrderError(f"scan order '{self.name}': every size of {grid} must be >= 1")
        key = (self._order, grid, str(device))
        table = _cache.get(key)
        if table is None:
            table = self._build(grid, device)
            _cache.put(key, table)
        return table

    def _build(self, grid: tuple[int, ...], device: torch.device | str) -> Tensor:
        length = 1
        for size in grid:
            length *= size
        table = self._order(grid, device=device)
        check_order(table, length, name=f"scan order '{self.name}' of {grid}")
        if table.dim() != 2:
            raise ScanOrderError(
                f"scan order '{self.name}' returned shape {tuple(table.shape)}; "
                f"paths are (K, L) = (K, {length})"
            )
        return table

    def __repr__(self) -> str:
        return f"NamedOrder({self.name!r}, dims={self.dims})"


def get(name: str, *, dims: int | None = None) -> NamedOrder | DataOrder:
    """Look an order up by name.

    :param name: a registered name, for instance ``"bidirectional"``.
    :param dims: the number of grid dimensions it must work for; None takes any.
    :raises ScanOrderError: for an unknown name (with a suggestion), or one that exists for
        another number of dimensions.
    """
    from mamba_core import registry

    spec = registry.scan_order_spec(name, dims=dims)
    order = registry.resolve(spec.order)
    return order if hasattr(order, "inputs") else NamedOrder(spec, order)


def list(dims: int | None = None) -> tuple[ScanOrderSpec, ...]:
    """Return the records of the installed orders, by name.

    :param dims: only those that work for this number of dimensions.
    """
    from mamba_core import registry

    return registry.scan_orders(dims=dims)


def paths(order: NamedOrder | DataOrder) -> int:
    """Return K, how many paths an order has; a data order has one."""
    if not isinstance(order, NamedOrder):
        return 1
    return order((2,) * (order.dims or 1)).shape[0]


def packed(
    order: NamedOrder, lengths: Sequence[int], *, device: torch.device | str = "cpu"
) -> Tensor:
    """Lay the orders of several one-dimensional sequences one after another.

    :param lengths: tokens per sequence; a sequence may be empty.
    :returns: int64 ``(K, sum of lengths)``; each sequence's positions hold its own ids.
    """
    starts = builtins.list(_starts(lengths))
    tables = [
        order((size,), device=device) + start
        for size, start in zip(lengths, starts, strict=True)
        if size
    ]
    if not tables:
        return torch.empty(paths(order), 0, dtype=torch.int64, device=device)
    return torch.cat(tables, dim=1)


def _starts(lengths: Sequence[int]) -> Sequence[int]:
    total, starts = 0, []
    for size in lengths:
        starts.append(total)
        total += size
    return starts
