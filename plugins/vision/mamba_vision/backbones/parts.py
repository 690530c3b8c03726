"""Pieces that several backbones are built from; maps are ``(B, C, H, W)``, tokens ``(B, L, C)``."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5
"""Of every norm here."""


def to_tokens(grid: Tensor) -> Tensor:
    """``(B, C, H, W) -> (B, H W, C)``, row-major; other grids alike."""
    return grid.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``(B, H W, C) -> (B, C, H, W)``; other grids alike."""
    return tokens.transpose(1, 2).unflatten(2, shape)


def pad_to(images: Tensor, patch: int, stride: int) -> Tensor:
    """Add zeros below and to the right until whole patches cover the image."""
    extra = [-(size - patch) % stride for size in images.shape[2:]]
    # a traced graph always pads: it must not assume that other sizes need no zeros either
    if torch.compiler.is_exporting() or any(extra):
        return F.pad(images, (0, extra[1], 0, extra[0]))
    return images


def grid_of(image_size: tuple[int, int], patch: int, stride: int) -> tuple[int, int]:
    """Return the rows and columns of patches in an image, padded by :func:`pad_to`."""
    height, width = (-(-(size - patch) // stride) + 1 for size in image_size)
    return height, width


def patch_conv(in_chans: int, channels: int, patch: int, stride: int) -> nn.Conv2d:
    """Return the projection of patches; weights start LeCun normal, as in Vim."""
    conv = nn.Conv2d(in_chans, channels, patch, stride=stride)
    nn.init.trunc_normal_(conv.weight, std=math.sqrt(1 / (in_chans * patch * patch)))
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """``fc2(gelu(fc1(x)))`` per token, ``(..., width) -> (..., width)``, exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        return self.fc2(F.gelu(self.fc1(x)))


class PatchMerging(nn.Module):
    """Half the height and width: the 2x2 neighbours joined, LayerNorm, Linear 4C -> 2C (Swin).

    Neighbours in the order (0,0), (1,0), (0,1), (1,1) as (row, column); odd sides get zeros.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels, eps=EPS)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, grid: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, 2C, ceil(H/2), ceil(W/2))``."""
        grid = pad_to(grid, 2, 2).permute(0, 2, 3, 1)
        parts = [grid[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(parts, dim=-1))).permute(0, 3, 1, 2)


def conv_down(channels: int, out: int) -> nn.Sequential:
    """Half the height and width by a 3x3 convolution and LayerNorm (VMamba's v3)."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride=2, padding=1),
        LayerNorm2d(out),
    )


def conv_stem(in_chans: int, channels: int) -> nn.Sequential:
    """Stride 4 by two 3x3 convolutions, each with LayerNorm (VMamba's v2)."""
    return nn.Sequential(
        nn.Conv2d(in_chans, channels // 2, 3, stride=2, padding=1),
        LayerNorm2d(channels // 2),
        nn.GELU(),
        nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1),
        LayerNorm2d(channels),
    )


class PatchStem(nn.Module):
    """Stride 4 by one 4x4 convolution and LayerNorm (VMamba's v1); the image is padded to it."""

    def __init__(self, in_chans: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, channels, 4, stride=4)
        self.norm = LayerNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, in_chans, H, W) -> (B, C, ceil(H/4), ceil(W/4))``."""
        return self.norm(self.proj(pad_to(images, 4, 4)))
