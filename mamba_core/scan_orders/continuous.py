"""Paths that move to a neighbour at every step: serpentines, spirals, stripes."""

from __future__ import annotations

from itertools import product
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mamba_core.scan_orders.continuity import Continuity, continuous
from mamba_core.scan_orders.grid import Device, by_keys, coordinates, ids, through


def serpentine(shape: tuple[int, ...], *, device: Device = "cpu") -> Tensor:
    """Every other row backwards; in more dimensions, every other plane too.

    On ``(H, W)``: row i left to right when i is even, else right to left. On volumes it is the
    path that the page of PointCloudMamba's authors (2403.00762) means by "consistent
    traversal": their code takes the largest coordinate as a size and jumps.

    :returns: int64 ``(1, L)``.
    """
    digits = coordinates(shape, device)
    key = torch.zeros_like(digits[0])
    for size, digit in zip(shape, digits, strict=True):
        key = key * size + torch.where(key % 2 == 0, digit, size - 1 - digit)
    return by_keys(key)


def serpentine4(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Serpentine rows, the same backwards, serpentine columns, the same backwards.

    PlainMamba (2403.17695); :func:`~mamba_core.scan_orders.step_labels` gives the direction of
    each step, which its mixer reads too.

    :returns: int64 ``(4, L)``.
    """
    rows = serpentine(shape, device=device)
    columns = through(ids(shape, device).T, lambda s: serpentine(s, device=device))
    return torch.cat([rows, rows.flip(-1), columns, columns.flip(-1)])


def zigzag8(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Serpentine rows and serpentine columns from each of the four corners.

    ZigMa (2403.13802), one path per layer (``merge="none"``); the same eight paths are the
    multi-scan of Mamba-in-Mamba (2405.12003). Corners: top left, top right, bottom left,
    bottom right; for each first rows, then columns.

    :returns: int64 ``(8, L)``.
    """
    grid, paths = ids(shape, device), []
    for down, right in product((True, False), (True, False)):
        view = grid if down else grid.flip(0)
        view = view if right else view.flip(1)
        for turned in (view, view.T):
            paths.append(through(turned, lambda s: serpentine(s, device=device)))
    return torch.cat(paths)


def spiral(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Clockwise from the top left corner inwards.

    Ours; no published system is named.

    :returns: int64 ``(1, L)``.
    """
    i, j = coordinates(shape, device)
    ring = torch.minimum(torch.minimum(i, shape[0] - 1 - i), torch.minimum(j, shape[1] - 1 - j))
    height, width = shape[0] - 2 * ring, shape[1] - 2 * ring
    i, j = i - ring, j - ring
    left = 2 * (width - 1) + (height - 1) + (height - 1 - i)
    bottom = (width - 1) + (height - 1) + (width - 1 - j)
    place = torch.where(i == height - 1, bottom, left)
    place = torch.where(j == width - 1, width - 1 + i, place)
    place = torch.where(i == 0, j, place)
    return by_keys(ring, place)


def _stripes_continuity(shape: tuple[int, ...], *, width: int = 4, shift: int = 0) -> Continuity:
    single = (shape[1] - 1 + shift) // width == shift // width
    return "unit" if shape[0] % 2 or single or width == 1 else "jumps"


@continuous(_stripes_continuity)
def stripes(
    shape: tuple[int, int],
    *,
    device: Device = "cpu",
    width: Annotated[int, Field(ge=1)] = 4,
    shift: Annotated[int, Field(ge=0)] = 0,
) -> Tensor:
    """Vertical stripes, serpentine rows inside; the first downwards, the next upwards, ...

    MaIR's nested S (2412.20066). A stripe of even height ends on the side it began, so the
    path jumps to the next stripe when H is even.

    :param shift: columns by which the stripes are moved to the left; MaIR moves them by half a
        width in odd layers: ``"stripes|stripes(shift=2)"``.
    :returns: int64 ``(1, L)``.
    """
    i, j = coordinates(shape, device)
    stripe, column = (j + shift) // width, (j + shift) % width
    row = torch.where(stripe % 2 == 0, i, shape[0] - 1 - i)
    return by_keys(stripe, row, torch.where(row % 2 == 0, column, width - 1 - column))


@continuous(
    lambda shape, **fields: max(
        _stripes_continuity(shape, **fields),
        _stripes_continuity(shape[::-1], **fields),
        key=("unit", "king", "jumps").index,
    )
)
def stripes4(
    shape: tuple[int, int],
    *,
    device: Device = "cpu",
    width: Annotated[int, Field(ge=1)] = 4,
    shift: Annotated[int, Field(ge=0)] = 0,
) -> Tensor:
    """:func:`stripes` of the grid, of the grid turned by 180 degrees, and of both transposed.

    The four paths of MaIR (2412.20066).

    :returns: int64 ``(4, L)``.
    """
    grid = ids(shape, device)
    half_turn = grid.flip(0, 1)
    views = (grid, half_turn, grid.T, half_turn.T)

    def build(view: tuple[int, ...]) -> Tensor:
        return stripes((view[0], view[1]), device=device, width=width, shift=shift)

    return torch.cat([through(view, build) for view in views])
