"""Non-causal SSD (VSSD, Shi et al., 2407.18559): every token reads one sum over all tokens.

With ``z``, ``x``, ``B``, ``C``, ``dt`` from one projection, and ``x``, ``B``, ``C`` through a
depth-wise convolution of the grid and SiLU::

    h   = sum_l |A| dt_l x_l B_l^T          (nheads, headdim, d_state), one for the grid
    y_l = h C_l + D x_l
    out = out_proj(norm(y * silu(z)))

The decay of SSD becomes a weight, so the result does not depend on any order of the tokens.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import initial
from mamba_core.mixers.grid import GridMixer, depthwise, over_grid


def non_causal_ssd(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """``y_l = (sum_m A dt_m x_m B_m^T) C_l + D x_l``.

    :param x: ``(B, L, H, P)``.
    :param dt: finished step sizes ``(B, L, H)``.
    :param A: weight of each head ``(H,)``, positive.
    :param B: ``(B, L, N)``, one set for all heads.
    :param C: like B.
    :param D: ``(H,)``.
    :returns: ``(B, L, H, P)``; sums are made in fp32 (fp64 for double inputs).
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    weighted = x.to(wide) * (dt.to(wide) * A.to(wide))[..., None]
    state = torch.einsum("blhp,bln->bhpn", weighted, B.to(wide))
    y = torch.einsum("bhpn,bln->blhp", state, C.to(wide)) + D.to(wide)[:, None] * x.to(wide)
    return y.to(x.dtype)


class NonCausalSSD(initial.KeepsFloat32, GridMixer):
    """The VSSD mixer, tokens of a grid ``(B, H W, d_model)`` -> the same shape.

    :param d_state: N, numbers of state per channel.
    :param d_conv: side of the depth-wise convolution, odd.
    :param expand: ``d_inner = expand * d_model``.
    :param headdim: channels per head.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1)] = 64,
        d_conv: Annotated[int, Field(ge=1)] = 3,
        expand: Annotated[int, Field(ge=1)] = 2,
        headdim: Annotated[int, Field(ge=1)] = 32,
        dt_min: Annotated[float, Field(gt=0)] = 0.001,
        dt_max: Annotated[float, Field(gt=0)] = 0.1,
        A_init_range: tuple[float, float] = (1, 16),
    ) -> None:
        d_inner = expand * d_model
        if d_inner % headdim or d_conv % 2 == 0:
            raise ValueError(
                f"headdim={headdim} must divide expand * d_model = {d_inner}, and "
                f"d_conv={d_conv} be odd"
            )
        super().__init__()
        self.d_model, self.headdim, heads = d_model, headdim, d_inner // headdim
        self.widths = [d_inner, d_inner + 2 * d_state, heads]
        self.inner = [d_inner, d_state, d_state]
        self.in_proj = nn.Linear(d_model, sum(self.widths), bias=False)
        self.conv2d = depthwise(d_inner + 2 * d_state, d_conv)
        self.dt_bias = initial.protect(
            nn.Parameter(initial.dt_bias(heads, dt_min, dt_max, 1e-4, None))
        )
        a = torch.empty(heads).uniform_(*A_init_range)
        self.A_log = initial.protect(nn.Parameter(torch.log(a)))
        self.D = initial.protect(nn.Parameter(torch.ones(heads)))
        self.norm = nn.LayerNorm(d_inner)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def float32_parameters(self) -> list[nn.Parameter]:
        """A, D and the dt bias."""
        return [self.A_log, self.D, self.dt_bias]

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        z, xBC, dt = self.in_proj(x).split(self.widths, dim=-1)
        inner, b, c = F.silu(over_grid(self.conv2d, xBC, shape)).split(self.inner, dim=-1)
        dt = F.softplus(dt.to(self.dt_bias.dtype) + self.dt_bias)
        heads = inner.unflatten(-1, (-1, self.headdim))
        y = non_causal_ssd(heads, dt, torch.exp(self.A_log), b, c, self.D).flatten(-2)
        return self.out_proj(self.norm(y * F.silu(z)))
