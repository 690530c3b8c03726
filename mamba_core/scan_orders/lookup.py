"""From a name to the order's table, remembered per shape and device."""

from __future__ import annotations

import builtins
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from threading import Lock

import torch
from torch import Tensor

from mamba_core.scan_orders import nodes
from mamba_core.scan_orders.algebra import Builder
from mamba_core.scan_orders.check import check_causal, check_cover, check_same
from mamba_core.scan_orders.data_paths import DataPaths
from mamba_core.scan_orders.protocols import DataOrder, ShapeOrder
from mamba_registry import catalog
from mamba_registry.errors import ScanOrderError
from mamba_registry.specs import Continuity, ScanOrderSpec

CACHE_BYTES = 64 * 2**20
"""The tables kept in memory, all shapes and devices together."""
MOST_TOKENS = 2**31 - 1
"""Kernels number the tokens of a sequence with 32 bits."""
_TWICE = 2**20
"""Up to this many tokens an order is built twice, to see whether it is deterministic."""


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
    """An order of the shape by its text: checked once per shape, then remembered.

    Made by :func:`get`. The returned table is shared: do not write into it.
    """

    def __init__(self, name: str, node: nodes.Node, recipe: tuple | None = None) -> None:
        self.name = name
        self._node = node
        self._recipe = recipe or (get, (name,))
        self.dims = node.dims
        self.cover = node.cover
        self.causal = node.causal
        folded = isinstance(node, nodes.Folded)
        self._slice = NamedOrder(name, node.base) if folded else None

    def __call__(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Return the paths of a grid of tokens as int64 ``(K, L)``.

        L counts the grid's tokens and the extra ones (:meth:`extra`), which come after them.
        Where ``cover`` is not ``"all"``, the table is ``(K, M)`` with -1 in empty slots.

        :param shape: the grid, one size per dimension, each at least 1.
        :raises ScanOrderError: for a shape with another number of dimensions or a zero in it,
            or when the registered function does not return what it promises.
        """
        if torch.compiler.is_exporting() and self._node.arithmetic:
            return self._node.table(tuple(shape), device)  # of sizes the graph may not know yet
        return self._table(tuple(shape), str(device))

    @torch.compiler.assume_constant_result  # torch.compile takes a table as it is
    def _table(self, shape: tuple[int, ...], device: str) -> Tensor:
        shape = tuple(map(int, shape))  # an exported graph that asked for a table is for one shape
        table = _cache.get((self, shape, device))
        if table is None:
            grid = self._grid(shape)
            with torch.inference_mode(False):  # a table made while predicting serves training too
                table = self._checked(grid, device)
            _cache.put((self, grid, device), table)
        return table

    @cached_property
    def paths(self) -> int:
        """K, the same at every shape."""
        return self._node.paths

    @property
    def folded(self) -> tuple[int, ...]:
        """Axes of the grid whose slices are sequences of their own (``:fold``), else empty."""
        return self._node.axes if isinstance(self._node, nodes.Folded) else ()

    def inside(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Return the paths of one slice of a folded order, the whole table of any other."""
        if self._slice is None or not isinstance(self._node, nodes.Folded):
            return self(shape, device=device)
        return self._slice(self._node.inside(self._grid(shape)), device=device)

    def extra(self, shape: Sequence[int]) -> int:
        """Return how many tokens the order reads besides those of the grid."""
        return self._node.extra(self._grid(shape))

    def continuity(self, shape: Sequence[int]) -> Continuity:
        """Return the label the order declares for a shape."""
        return self._node.continuity(self._grid(shape))

    def cycle(self) -> LayeredOrder:
        """Return one order per path, for stacks whose layers take turns (``merge="none"``)."""
        picked = [
            NamedOrder(f"({self.name}):path({k})", nodes.Picked(self._node, k))
            for k in range(self.paths)
        ]
        return LayeredOrder(self.name, tuple(picked))

    def for_layer(self, layer: int) -> NamedOrder:
        """Return the order itself: every layer reads it."""
        return self

    def _grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        grid = tuple(int(size) for size in shape)
        if self.dims is not None and len(grid) != self.dims:
            raise ScanOrderError(
                f"scan order '{self.name}' is for {self.dims}-d inputs, got the shape {grid}"
            )
        if not grid or min(grid) < 1:
            raise ScanOrderError(f"scan order '{self.name}': every size of {grid} must be >= 1")
        if math.prod(grid) > MOST_TOKENS:
            raise ScanOrderError(
                f"scan order '{self.name}': {grid} has {math.prod(grid)} tokens; kernels number "
                f"up to {MOST_TOKENS} in one sequence"
            )
        return grid

    def build(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Make the table anew, unchecked; what a call remembers."""
        return self._node.table(self._grid(shape), device)

    def _checked(self, grid: tuple[int, ...], device: torch.device | str) -> Tensor:
        name = f"scan order '{self.name}' of {grid}"
        length = math.prod(grid) + self._node.extra(grid)
        table = self.build(grid, device=device)
        check_cover(table, length, self.cover, name=name)
        if table.device.type != torch.device(device).type:
            raise ScanOrderError(f"{name} is on {table.device}; it was asked for on {device}")
        if length <= _TWICE:
            check_same(table, self.build(grid, device=device), name)
        if self.causal:
            check_causal(table, grid, name=name)
        return table

    def __reduce__(self) -> tuple:
        # a model is copied and pickled with its order's name, never with tables or functions
        return self._recipe

    def __repr__(self) -> str:
        return f"NamedOrder({self.name!r}, dims={self.dims})"


class LayeredOrder:
    """Another order for every layer of a stack, counted round: ``"raster|raster:T"``."""

    def __init__(self, name: str, orders: tuple[NamedOrder | DataOrder, ...]) -> None:
        self.name = name
        self.orders = orders

    def for_layer(self, layer: int) -> NamedOrder | DataOrder:
        """Return the order that the ``layer``-th mixer layer reads, counted from 0."""
        return self.orders[layer % len(self.orders)]

    def __call__(self, shape: Sequence[int], *, device: torch.device | str = "cpu") -> Tensor:
        """Refuse: which table it would be depends on the layer."""
        raise ScanOrderError(
            f"scan order '{self.name}' differs from layer to layer: ask for_layer(number)"
        )

    def __repr__(self) -> str:
        return f"LayeredOrder({self.name!r})"


Order = NamedOrder | LayeredOrder | DataOrder
"""What a text can stand for."""

_known: dict[tuple[str, int | None], tuple[object, Order]] = {}


def get(name: str, *, dims: int | None = None) -> Order:
    """Look an order up by its text.

    :param name: a registered name, for instance ``"bidirectional"``, or an expression:
        ``"hilbert:reverse"``, ``"window(7)+window(7):T"``, ``"raster|raster:T"``; see
        :mod:`~mamba_core.scan_orders.parse`.
    :param dims: the number of grid dimensions it must work for; None takes any.
    :raises ScanOrderError: for an unknown name (with a suggestion), one that exists for another
        number of dimensions, a value that does not fit, or a text that cannot be read.
    """
    state = catalog.state()
    found = _known.get((name, dims))
    if found is not None and found[0] == state:
        return found[1]
    order = _get(name, dims)
    if len(_known) > 1000:
        _known.clear()
    _known[name, dims] = (state, order)
    return order


def _get(name: str, dims: int | None) -> Order:
    parts = Builder(name).layers(dims)
    recipes = [(_part, (name, index)) if len(parts) > 1 else None for index in range(len(parts))]
    made = [
        NamedOrder(name, part, recipe) if isinstance(part, nodes.Node) else part
        for part, recipe in zip(parts, recipes, strict=True)
    ]
    if dims is not None:
        for order in made:
            if isinstance(order, NamedOrder) and order.dims not in (None, dims):
                raise ScanOrderError(
                    f"scan order '{name}' is for {order.dims}-d inputs, not for {dims}-d ones"
                )
    return made[0] if len(made) == 1 else LayeredOrder(name, tuple(made))


def _part(name: str, index: int) -> NamedOrder | DataOrder:
    return get(name).for_layer(index)  # type: ignore[union-attr]


def of_function(
    order: Callable[..., Tensor], *, dims: int | None, name: str = "", causal: bool = False
) -> NamedOrder:
    """Return an order from a plain function, without registering it.

    :param order: a ``ShapeOrder`` ``(shape, *, device="cpu") -> (K, L)``.
    """
    label = name or getattr(order, "__name__", "function").strip("<>")
    spec = ScanOrderSpec(name=label, dims=dims, order=order, causal=causal)
    shape_order: ShapeOrder = order
    recipe = (partial(of_function, order, dims=dims, name=name, causal=causal), ())
    return NamedOrder(label, nodes.Registered(spec, shape_order), recipe)


def list(dims: int | None = None) -> tuple[ScanOrderSpec, ...]:
    """Return the records of the installed orders, by name.

    :param dims: only those that work for this number of dimensions.
    """
    from mamba_core import registry

    return registry.scan_orders(dims=dims)


def paths(order: Order) -> int:
    """Return K, how many paths an order has; of a layered one, those of its first layer."""
    if isinstance(order, LayeredOrder):
        order = order.for_layer(0)
    return order.paths if isinstance(order, NamedOrder | DataPaths) else 1


def packed(
    order: NamedOrder, lengths: Sequence[int], *, device: torch.device | str = "cpu"
) -> Tensor:
    """Lay the orders of several one-dimensional sequences one after another.

    :param lengths: tokens per sequence; a sequence may be empty.
    :returns: int64 ``(K, sum of lengths)``; each sequence's positions hold its own ids.
    """
    if order.cover != "all" or order.folded or (lengths and order.extra((1,))):
        raise ScanOrderError(
            f"scan order '{order.name}' cannot read packed sequences: it has extra tokens, empty "
            "slots or slices"
        )
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
