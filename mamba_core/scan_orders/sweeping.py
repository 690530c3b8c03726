"""Straight sweeps over a grid: rows, columns, diagonals, and their mirror images."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_core.scan_orders.grid import Device, arithmetic, by_keys, coordinates, ids
from mamba_core.scan_orders.sequence import raster


@arithmetic
def cross(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Rows, columns, and both backwards: the cross-scan of VMamba (2401.10166).

    The same as ``raster+raster:T+raster:reverse+raster:T:reverse``.

    :returns: int64 ``(4, L)``.
    """
    ahead = torch.stack([ids(shape, device).flatten(), ids(shape, device).T.flatten()])
    return torch.cat([ahead, ahead.flip(-1)])


def cross_rot90(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Path k is the raster of the grid turned k times by 90 degrees counter-clockwise.

    VMamba's variant ``scans=3``.

    :returns: int64 ``(4, L)``.
    """
    grid = ids(shape, device)
    return torch.stack([torch.rot90(grid, k).flatten() for k in range(4)])


def diagonal(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Anti-diagonals from the top left corner, each downwards: sorted by ``(i + j, i)``.

    Ours; no published system is named.

    :returns: int64 ``(1, L)``.
    """
    i, j = coordinates(shape, device)
    return by_keys(i + j, i)


def jpeg(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """JPEG's zigzag: odd anti-diagonals downwards, even ones upwards, always to a neighbour.

    Ours; no published system is named.

    :returns: int64 ``(1, L)``.
    """
    i, j = coordinates(shape, device)
    return by_keys(i + j, torch.where((i + j) % 2 == 1, i, shape[0] - 1 - i))


def omnidirectional(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Rows, columns, diagonals and anti-diagonals, each forward and backward.

    Ours, after the idea of RS-Mamba's eight directions (2404.02668), whose order inside a
    diagonal is not confirmed; here it goes by row.

    :returns: int64 ``(8, L)``.
    """
    i, j = coordinates(shape, device)
    ahead = torch.cat(
        [
            raster(shape, device=device),
            ids(shape, device).T.reshape(1, -1),
            by_keys(i + j, i),
            by_keys(i + shape[1] - 1 - j, i),
        ]
    )
    return torch.cat([ahead, ahead.flip(-1)])


def axis_alternation_2d(shape: tuple[int, int], *, device: Device = "cpu") -> Tensor:
    """Rows, rows backwards, columns, columns backwards: one per layer with ``merge="none"``.

    Mamba-ND (2402.05892) in two dimensions.

    :returns: int64 ``(4, L)``.
    """
    rows, columns, rows_back, columns_back = cross(shape, device=device)
    return torch.stack([rows, rows_back, columns, columns_back])
