"""Orders that every shape has: forward, backward, and both."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def raster(shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> Tensor:
    """Tokens as they lie in memory: ``p[k] = k``.

    :returns: int64 ``(1, L)``.
    """
    return torch.arange(math.prod(shape), device=device)[None]


def reverse(shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> Tensor:
    """Last token first: ``p[k] = L - 1 - k``.

    :returns: int64 ``(1, L)``.
    """
    return raster(shape, device=device).flip(-1)


def bidirectional(shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> Tensor:
    """Two paths, forward and backward, as in Vim (Zhu et al., 2401.09417).

    :returns: int64 ``(2, L)``.
    """
    forward = raster(shape, device=device)
    return torch.cat([forward, forward.flip(-1)])
