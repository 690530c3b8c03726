"""State fusion (Spatial-Mamba, Xiao et al., 2410.15091): neighbours' states are mixed.

One raster scan makes the states ``h_l``; then each state is replaced by a weighted sum of those
around it in the grid, and read out::

    h_l = exp(dt_l A) h_{l-1} + dt_l x_l B_l
    g   = sum_d alpha_d conv_d(h)            depth-wise 3 x 3, dilations 1, 3, 5
    y_l = g_l C_l + D x_l
    out = out_proj(norm(y) * silu(z))
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import initial
from mamba_core.mixers.grid import GridMixer, depthwise, over_grid
from mamba_core.mixers.selection import Selection
from mamba_kernels import ops

_DILATIONS = (1, 3, 5)


class StateFusion(nn.Module):
    """``sum_d alpha_d conv_d(h)`` over the grid, borders repeated, ``(B, C, H, W)`` -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(
                channels,
                channels,
                3,
                padding=dilation,
                dilation=dilation,
                groups=channels,
                bias=False,
                padding_mode="replicate",
            )
            for dilation in _DILATIONS
        )
        self.alpha = nn.Parameter(torch.ones(len(_DILATIONS)))

    def forward(self, h: Tensor) -> Tensor:
        """Mix each state with those around it."""
        outputs = [a * conv(h) for a, conv in zip(self.alpha, self.convs, strict=True)]
        return torch.stack(outputs).sum(0)


class SpatialMamba(initial.KeepsFloat32, GridMixer):
    """The Spatial-Mamba mixer, tokens of a grid ``(B, H W, d_model)`` -> the same shape.

    :param d_state: N, numbers of state per channel; 1 in the paper.
    :param d_conv: side of the depth-wise convolution before the scan, odd.
    :param expand: ``d_inner = expand * d_model``.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1)] = 1,
        d_conv: Annotated[int, Field(ge=1)] = 3,
        expand: Annotated[int, Field(ge=1)] = 2,
    ) -> None:
        if d_conv % 2 == 0:
            raise ValueError(f"d_conv={d_conv} must be odd, so that the grid keeps its size")
        super().__init__()
        d_inner = expand * d_model
        self.d_model, self.d_state = d_model, d_state
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv2d = depthwise(d_inner, d_conv)
        self.select = Selection(d_inner, d_state, reads=True)
        self.D = initial.protect(nn.Parameter(torch.ones(d_inner)))
        self.fusion = StateFusion(d_state * d_inner)
        self.norm = nn.LayerNorm(d_inner)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def float32_parameters(self) -> list[nn.Parameter]:
        """D."""
        return [self.D]

    def states(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scan without reading out.

        The op returns no states, but a scan of one state per channel read with 1 is its state:
        state n of channel d is channel ``n * d_inner + d`` here.

        :param x: ``(B, L, d_inner)``.
        :returns: the states ``(B, N * d_inner, L)``, and C ``(B, L, N)``.
        """
        n, channels = self.d_state, x.shape[-1]
        dt, b, c = self.select.choose(x)
        repeated = (1, n, 1)
        h = ops.selective_scan(
            x.transpose(1, 2).repeat(repeated),
            dt.transpose(1, 2).repeat(repeated),
            self.select.A.T.reshape(n * channels, 1),
            b.transpose(1, 2)[:, :, None],
            x.new_ones(n * channels, 1),
            delta_bias=self.select.dt_proj.bias.repeat(n),
            delta_softplus=True,
        )
        assert isinstance(h, Tensor)
        return h, c

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        inner, z = self.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(over_grid(self.conv2d, inner, shape))
        h, c = self.states(inner)
        fused = self.fusion(h.unflatten(2, shape)).flatten(2)
        read = fused.unflatten(1, (self.d_state, -1))
        y = torch.einsum("bndl,bln->bld", read, c) + self.D.to(inner.dtype) * inner
        return self.out_proj(self.norm(y) * F.silu(z))
