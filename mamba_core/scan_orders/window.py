"""Windows, dilated sub-grids and quadrants: near tokens together, or far ones."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mamba_core.scan_orders.grid import Device, by_keys, coordinates, ids
from mamba_registry.errors import ScanOrderError


def window(
    shape: tuple[int, int], *, device: Device = "cpu", size: Annotated[int, Field(ge=1)] = 2
) -> Tensor:
    """Window after window, rows inside each; windows at the edges may be smaller.

    LocalMamba (2403.09338): sorted by ``(i // w, j // w, i % w, j % w)``. Their column variant
    is ``window:T``.

    :param size: w, tokens along a side; larger than both sides of the grid is an error.
    :returns: int64 ``(1, L)``.
    """
    _check_window(shape, size)
    i, j = coordinates(shape, device)
    return by_keys(i // size, j // size, i % size, j % size)


def window_padded(
    shape: tuple[int, int], *, device: Device = "cpu", size: Annotated[int, Field(ge=1)] = 2
) -> Tensor:
    """:func:`window` over the grid padded to whole windows; -1 where there is no token.

    Only for weights trained with LocalMamba's code, which scans the zeros it pads with: they
    let the state decay between the real tokens.

    :returns: int64 ``(1, padded L)``.
    """
    _check_window(shape, size)
    height, width = (-(-side // size) * size for side in shape)
    padded = torch.full((height, width), -1, dtype=torch.int64, device=device)
    padded[: shape[0], : shape[1]] = ids(shape, device)
    return padded.unflatten(0, (-1, size)).unflatten(2, (-1, size)).transpose(1, 2).reshape(1, -1)


def _check_window(shape: tuple[int, int], size: int) -> None:
    if size > max(shape) > 1:
        raise ScanOrderError(
            f"a window of {size} is larger than the grid {shape}, where it would be plain raster: "
            f"choose a size up to {max(shape)}"
        )


def atrous(
    shape: tuple[int, int], *, device: Device = "cpu", step: Annotated[int, Field(ge=1)] = 2
) -> Tensor:
    """``step ** 2`` disjoint paths, one per offset, each over every ``step``-th row and column.

    EfficientVMamba (2403.09977) for step 2; other steps are ours (their code reads 4 of the
    ``step ** 2`` offsets). Offsets ``(a, b)`` run with a innermost; a path is column-major where
    a is odd. Cover is ``partition``: merge with ``"scatter"``.

    :returns: int64 ``(step ** 2, longest)``; shorter paths end with -1.
    """
    grid = ids(shape, device)
    paths = []
    for b in range(step):
        for a in range(step):
            part = grid[a::step, b::step]
            paths.append((part.T if a % 2 else part).flatten())
    return torch.nn.utils.rnn.pad_sequence(paths, batch_first=True, padding_value=-1)


def quadtree(
    shape: tuple[int, int], *, device: Device = "cpu", depth: Annotated[int, Field(ge=0)] = 2
) -> Tensor:
    """Quadrant by quadrant, each cut into quadrants again ``depth`` times; rows in the last.

    Ours; which region is cut further by its content is the data order ``quadtree-scores``.

    :returns: int64 ``(1, L)``.
    """
    (i, j), keys = coordinates(shape, device), []
    (top, bottom), (left, right) = ((torch.zeros_like(i), torch.full_like(i, s)) for s in shape)
    for _ in range(depth):
        middle, centre = (top + bottom + 1) // 2, (left + right + 1) // 2
        lower, righter = i >= middle, j >= centre
        keys.append(2 * lower + righter)
        top, bottom = torch.where(lower, middle, top), torch.where(lower, bottom, middle)
        left, right = torch.where(righter, centre, left), torch.where(righter, right, centre)
    return by_keys(*keys, ids(shape, device).flatten())
