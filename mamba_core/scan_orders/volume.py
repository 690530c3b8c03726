"""Orders of video and volumes, ``(T, H, W)``."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_core.scan_orders.grid import Device, ids


def temporal_first(shape: tuple[int, int, int], *, device: Device = "cpu") -> Tensor:
    """One pixel through all frames, then the next pixel: raster of ``(H, W, T)``.

    The idea of VideoMamba's ablation (2403.06977); their released code has no such path.

    :returns: int64 ``(1, L)``.
    """
    return ids(shape, device).permute(1, 2, 0).reshape(1, -1)


def axis_alternation(shape: tuple[int, int, int], *, device: Device = "cpu") -> Tensor:
    """``t h w``, ``t w h`` and ``w h t`` as the order of the axes, each forward and backward.

    Mamba-ND (2402.05892), one path per layer with ``merge="none"``: the axis read fastest is W,
    H, T in turn.

    :returns: int64 ``(6, L)``.
    """
    grid, paths = ids(shape, device), []
    for axes in ((0, 1, 2), (0, 2, 1), (2, 1, 0)):
        path = grid.permute(axes).flatten()
        paths += [path, path.flip(0)]
    return torch.stack(paths)
