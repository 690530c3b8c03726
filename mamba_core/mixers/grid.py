"""What mixers share that read the token grid itself instead of an order."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mamba_core.mixers.base import Mixer


class GridMixer(Mixer):
    """A mixer of a two-dimensional grid of tokens; sees all of it, so it cannot stream.

    Tokens are in row-major order. Packed sequences have no grid and are refused.
    """

    causal = False
    takes_shape = True

    def forward(
        self,
        x: Tensor,
        *,
        shape: Sequence[int] | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Mix a batch of grids.

        :param x: ``(B, H * W, d_model)``.
        :param shape: ``(H, W)``.
        :returns: a tensor like ``x``.
        :raises ValueError: without a shape, for one that does not fit, and for packed tokens.
        """
        name = type(self).__name__
        if cu_seqlens is not None:
            raise ValueError(f"{name} mixes grids; packed sequences (cu_seqlens) have none")
        if shape is None or len(shape) != 2 or math.prod(shape) != x.shape[1]:
            raise ValueError(
                f"{name} needs the grid of its tokens, shape=(H, W) with H W = {x.shape[1]}, "
                f"got {None if shape is None else tuple(shape)}"
            )
        return self.mix(x, (shape[0], shape[1]))

    @abstractmethod
    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """:meth:`forward` with a shape that fits."""


def depthwise(channels: int, width: int, *, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """Return a convolution per channel that keeps the size of the grid."""
    return nn.Conv2d(
        channels,
        channels,
        width,
        padding=dilation * (width // 2),
        dilation=dilation,
        groups=channels,
        bias=bias,
    )


def over_grid(conv: Callable[[Tensor], Tensor], x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Apply a convolution of grids to tokens ``(B, L, C)``."""
    return conv(x.transpose(1, 2).unflatten(2, shape)).flatten(2).transpose(1, 2)
