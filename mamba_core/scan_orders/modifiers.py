"""The modifiers of the order language, each a function from a node to a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mamba_core.scan_orders import nodes
from mamba_core.scan_orders.extras import Where, places
from mamba_core.scan_orders.nodes import Node
from mamba_registry.errors import ScanOrderError


def reverse(order: Node) -> Node:
    """Every path backwards, extra tokens with it."""
    return nodes.Reversed(order)


def transpose(order: Node) -> Node:
    """The order of the transposed grid ``(W, H)``: rows become columns."""
    return nodes.Viewed(order, lambda grid: grid.T, 2)


def rot90(order: Node, turns: int = 1) -> Node:
    """The order of the grid turned by 90 degrees counter-clockwise, ``turns`` times."""
    return nodes.Viewed(order, lambda grid: torch.rot90(grid, turns), 2)


def flip(order: Node, axis: Annotated[int, Field(ge=0)] = 0) -> Node:
    """The order of the grid mirrored along an axis."""

    def view(grid: Tensor) -> Tensor:
        _check_axis(axis, grid.dim(), "flip")
        return grid.flip(axis)

    return nodes.Viewed(order, view, None)


def axes(order: Node, *order_of: int) -> Node:
    """The order of the grid with its axes exchanged: ``axes(1, 2, 0)`` of ``(T, H, W)`` is
    ``(H, W, T)``.
    """
    if sorted(order_of) != list(range(len(order_of))) or not order_of:
        raise ScanOrderError(f"axes{order_of}: name every axis of the grid once, counted from 0")
    return nodes.Viewed(order, lambda grid: grid.permute(order_of), len(order_of))


def path(order: Node, index: int) -> Node:
    """One of the paths."""
    if not 0 <= index < order.paths:
        raise ScanOrderError(f"path({index}): the order has the paths 0 .. {order.paths - 1}")
    return nodes.Picked(order, index)


def tokens(order: Node, where: Where, count: Annotated[int, Field(ge=1)] = 1) -> Node:
    """Extra tokens: ``tokens(middle)`` a class token, ``tokens(spread, 4)`` four registers."""
    places(where, 0, count)  # a number that the place does not allow is an error now
    return nodes.WithTokens(order, where, count)


def blocks(order: Node, size: Annotated[int, Field(ge=1)], inside: Node) -> Node:
    """The order over blocks of ``size`` tokens a side, the order ``inside`` (raster) in each."""
    return nodes.InBlocks(order, inside, size)


def fold(order: Node, *folded: int) -> Node:
    """The order inside every slice of the axes named, each a sequence of its own."""
    if not folded or len(set(folded)) < len(folded) or min(folded) < 0:
        raise ScanOrderError(f"fold{folded}: name distinct axes, counted from 0")
    return nodes.Folded(order, tuple(sorted(folded)))


def _check_axis(axis: int, dims: int, modifier: str) -> None:
    if axis >= dims:
        raise ScanOrderError(f"{modifier}({axis}): the grid has the axes 0 .. {dims - 1}")


MODIFIERS: dict[str, Callable[..., Node]] = {
    "reverse": reverse,
    "T": transpose,
    "rot90": rot90,
    "flip": flip,
    "axes": axes,
    "path": path,
    "tokens": tokens,
    "blocks": blocks,
    "fold": fold,
}
"""Name in the language -> function; its arguments after the first are the modifier's values."""
