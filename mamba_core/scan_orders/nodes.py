"""What the text of an order becomes: a tree of small objects that make tables.

Each node knows its dimensions, its paths and its extra tokens, makes ``(K, L)`` tables for a
shape and declares their continuity. They are immutable and know nothing of caches or checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mamba_core.scan_orders import extras
from mamba_core.scan_orders.continuity import Continuity, worst
from mamba_core.scan_orders.grid import Device, by_keys, coordinates, ids, through
from mamba_core.scan_orders.protocols import ShapeOrder
from mamba_registry.errors import ScanOrderError
from mamba_registry.specs import Cover, ScanOrderSpec

Shape = tuple[int, ...]


class Node:
    """A shape order made of others; what most nodes answer is that of their ``base``."""

    base: Node

    @property
    def dims(self) -> int | None:
        """Dimensions of the grid; None for any."""
        return self.base.dims

    @property
    def cover(self) -> Cover:
        """What the paths read: each all tokens, or together each token once."""
        return self.base.cover

    @property
    def paths(self) -> int:
        """K, the same at every shape."""
        return self.base.paths

    @property
    def causal(self) -> bool:
        """Whether the order promises to read tokens as they arrive."""
        return False

    @property
    def arithmetic(self) -> bool:
        """Whether :meth:`table` also works for sizes that a traced graph does not know yet."""
        return False

    def extra(self, shape: Shape) -> int:
        """How many tokens there are besides the grid's."""
        return self.base.extra(shape)

    def continuity(self, shape: Shape) -> Continuity:
        """The declared label for a shape; grid tokens only."""
        return self.base.continuity(shape)

    def table(self, shape: Shape, device: Device) -> Tensor:
        """Make the paths."""
        raise NotImplementedError


@dataclass(frozen=True)
class Registered(Node):
    """A registered order with its parameters."""

    spec: ScanOrderSpec
    order: ShapeOrder
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> int | None:
        return self.spec.dims

    @property
    def cover(self) -> Cover:
        return self.spec.cover

    @property
    def paths(self) -> int:
        return len(self.table((1,) * (self.dims or 1), "cpu"))

    @property
    def causal(self) -> bool:
        return self.spec.causal

    @property
    def arithmetic(self) -> bool:
        return getattr(self.order, "arithmetic", False)

    def extra(self, shape: Shape) -> int:
        return 0

    def continuity(self, shape: Shape) -> Continuity:
        label = getattr(self.order, "continuity", None)
        return self.spec.continuity if label is None else label(shape, **self.fields)

    def table(self, shape: Shape, device: Device) -> Tensor:
        return self.order(shape, device=device, **self.fields)


@dataclass(frozen=True)
class Viewed(Node):
    """The base order of the grid as a view shows it: transposed, mirrored, turned."""

    base: Node
    view: Callable[[Tensor], Tensor]
    """Of the ids in grid form."""
    needs: int | None
    """Dimensions that the view is for."""

    @property
    def dims(self) -> int | None:
        return self.needs if self.base.dims is None else self.base.dims

    def _seen(self, shape: Shape) -> Shape:
        return tuple(self.view(torch.empty(shape, device="meta")).shape)

    def extra(self, shape: Shape) -> int:
        return self.base.extra(self._seen(shape))

    def continuity(self, shape: Shape) -> Continuity:
        return self.base.continuity(self._seen(shape))

    def table(self, shape: Shape, device: Device) -> Tensor:
        return through(self.view(ids(shape, device)), lambda s: self.base.table(s, device))


@dataclass(frozen=True)
class Reversed(Node):
    """Every path backwards; empty slots stay behind."""

    base: Node

    @property
    def arithmetic(self) -> bool:
        return self.base.arithmetic and self.cover == "all"

    def table(self, shape: Shape, device: Device) -> Tensor:
        turned = self.base.table(shape, device).flip(-1)
        if self.cover != "partition":
            return turned
        behind = (turned < 0).long().argsort(dim=-1, stable=True)
        return turned.gather(-1, behind)


@dataclass(frozen=True)
class Picked(Node):
    """One path of several."""

    base: Node
    path: int

    @property
    def cover(self) -> Cover:
        if self.base.cover == "partition":
            raise ScanOrderError("path() of an order whose paths share the tokens loses the others")
        return self.base.cover

    @property
    def paths(self) -> int:
        return 1

    def table(self, shape: Shape, device: Device) -> Tensor:
        table = self.base.table(shape, device)
        return table[self.path][None]


@dataclass(frozen=True)
class Stacked(Node):
    """The paths of all parts."""

    parts: tuple[Node, ...]

    @classmethod
    def of(cls, parts: Sequence[Node]) -> Stacked:
        """Join orders.

        :raises ScanOrderError: for orders of different dimensions or incomplete covers.
        """
        joined = cls(tuple(parts))
        _ = joined.dims, joined.cover
        return joined

    @property
    def dims(self) -> int | None:
        known = {part.dims for part in self.parts} - {None}
        if len(known) > 1:
            raise ScanOrderError(
                f"orders for {' and '.join(f'{d}-d' for d in sorted(known, key=str))} inputs "
                "cannot be joined by '+'"
            )
        return known.pop() if known else None

    @property
    def cover(self) -> Cover:
        if any(part.cover != "all" for part in self.parts):
            raise ScanOrderError("'+' joins orders whose every path reads all tokens")
        return "all"

    @property
    def paths(self) -> int:
        return sum(part.paths for part in self.parts)

    @property
    def arithmetic(self) -> bool:
        return all(part.arithmetic for part in self.parts)

    def extra(self, shape: Shape) -> int:
        counts = [part.extra(shape) for part in self.parts]
        if len(set(counts)) > 1:
            raise ScanOrderError(
                f"the paths joined by '+' have {counts} extra tokens at {shape}; all paths must "
                "have the same"
            )
        return counts[0]

    def continuity(self, shape: Shape) -> Continuity:
        return worst(part.continuity(shape) for part in self.parts)

    def table(self, shape: Shape, device: Device) -> Tensor:
        return torch.cat([part.table(shape, device) for part in self.parts])


@dataclass(frozen=True)
class WithTokens(Node):
    """Extra tokens in every path; see :mod:`~mamba_core.scan_orders.extras`."""

    base: Node
    where: extras.Where
    count: int

    def _count(self, shape: Shape) -> int:
        return math.prod(shape[:-1]) if self.where == "lines" else self.count

    def extra(self, shape: Shape) -> int:
        return self.base.extra(shape) + self._count(shape)

    def table(self, shape: Shape, device: Device) -> Tensor:
        table = self.base.table(shape, device)
        at = extras.places(self.where, table.shape[1], self._count(shape), line=shape[-1])
        return extras.insert(table, at)


@dataclass(frozen=True)
class InBlocks(Node):
    """The base order over square blocks of tokens, another order inside each block."""

    base: Node
    inside: Node
    size: int

    @property
    def cover(self) -> Cover:
        if (self.base.cover, self.inside.cover) != ("all", "all"):
            raise ScanOrderError("blocks() needs orders whose every path reads all tokens")
        return "all"

    @property
    def paths(self) -> int:
        return max(self.base.paths, self.inside.paths)

    def continuity(self, shape: Shape) -> Continuity:
        return "jumps"

    def table(self, shape: Shape, device: Device) -> Tensor:
        blocks = self.base.table(tuple(-(-s // self.size) for s in shape), device)
        within = self.inside.table((self.size,) * len(shape), device)
        if len(blocks) != len(within) and 1 not in (len(blocks), len(within)):
            raise ScanOrderError(
                f"blocks(): {len(blocks)} paths outside do not fit {len(within)} inside"
            )
        block, place = self._numbers(shape, device)
        paths = []
        for k in range(max(len(blocks), len(within))):
            outer, inner = blocks[k % len(blocks)], within[k % len(within)]
            paths.append(by_keys(outer.argsort()[block], inner.argsort()[place]))
        return torch.cat(paths)

    def _numbers(self, shape: Shape, device: Device) -> tuple[Tensor, Tensor]:
        """Each token's block, and its place in the block; blocks at the edges may be smaller."""
        block = place = torch.zeros((), dtype=torch.int64, device=device)
        for size, digit in zip(shape, coordinates(shape, device), strict=True):
            block = block * -(-size // self.size) + digit // self.size
            place = place * self.size + digit % self.size
        return block, place


@dataclass(frozen=True)
class Folded(Node):
    """The base order inside every slice of some axes; each slice is a sequence of its own."""

    base: Node
    axes: tuple[int, ...]

    def inside(self, shape: Shape) -> Shape:
        """The shape of one slice."""
        rest = tuple(size for axis, size in enumerate(shape) if axis not in self.axes)
        if len(rest) != len(shape) - len(self.axes) or not rest:
            raise ScanOrderError(f"fold{self.axes} of a {len(shape)}-d grid leaves no axis to read")
        return rest

    @property
    def dims(self) -> int | None:
        return None if self.base.dims is None else self.base.dims + len(self.axes)

    def extra(self, shape: Shape) -> int:
        if self.base.extra(self.inside(shape)):
            raise ScanOrderError("fold() takes orders without extra tokens")
        return 0

    def continuity(self, shape: Shape) -> Continuity:
        return "jumps"  # from one slice to the next, where the state starts anew

    def table(self, shape: Shape, device: Device) -> Tensor:
        rest = self.inside(shape)
        slices = ids(shape, device).movedim(self.axes, tuple(range(len(self.axes))))
        slices = slices.reshape(-1, math.prod(rest))
        order = self.base.table(rest, device)
        return slices[:, order].movedim(1, 0).flatten(1)
