"""PlainMamba's mixer (Yang et al., 2403.17695): four serpentines, one scan, steps that are told.

With ``x``, ``z`` from one projection and ``x`` through a depth-wise convolution of the grid and
SiLU, path k is a Mamba-1 scan along serpentine k in which the move that reached a token adds a
learned vector to B::

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t (B_t + direction_Bs[move_t])
    out = out_proj(sum of the four paths * silu(z))

Parameter names and shapes are those of the authors' code, so that its weights load.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_core.mixers import initial
from mamba_core.mixers.grid import GridMixer, depthwise, over_grid
from mamba_core.mixers.selection import Selection
from mamba_kernels import ops

_MOVES = 5  # start, right, left, up, down


class PlainMamba(Selection, GridMixer):
    """The PlainMamba mixer, tokens of a grid ``(B, H W, d_model)`` -> the same shape.

    :param d_state: N, numbers of state per channel.
    :param conv_size: side of the depth-wise convolution, odd.
    :param expand: ``d_inner = expand * d_model``.
    :param dt_rank: width of the projection behind dt; ``"auto"`` is ``ceil(d_model / 16)``.
    :param legacy_unpermuted_dtbc: step t of a path takes dt, B and C of token t instead of those
        of the token it reads, as the authors' code does. Only for weights trained with it.
    """

    def __init__(
        self,
        d_model: int,
        d_state: Annotated[int, Field(ge=1)] = 16,
        conv_size: Annotated[int, Field(ge=1)] = 7,
        expand: Annotated[int, Field(ge=1)] = 2,
        dt_rank: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto",
        conv_bias: bool = True,
        bias: bool = False,
        legacy_unpermuted_dtbc: bool = False,
    ) -> None:
        if conv_size % 2 == 0:
            raise ValueError(f"conv_size={conv_size} must be odd, so that the grid keeps its size")
        d_inner = expand * d_model
        rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        super().__init__(d_inner, d_state, reads=True, dt_rank=rank)
        self.d_model = d_model
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=bias)
        self.conv2d = depthwise(d_inner, conv_size, bias=conv_bias)
        self.D = initial.protect(nn.Parameter(torch.ones(d_inner)))
        self.direction_Bs = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(_MOVES, d_state), std=0.02)
        )
        self.out_proj = nn.Linear(d_inner, d_model, bias=bias)
        self.legacy_unpermuted_dtbc = legacy_unpermuted_dtbc
        self._order = scan_orders.get("serpentine4")

    def float32_parameters(self) -> list[nn.Parameter]:
        """A, D and the dt bias."""
        return [*super().float32_parameters(), self.D]

    def mix(self, x: Tensor, shape: tuple[int, int]) -> Tensor:
        """See :meth:`GridMixer.mix`."""
        assert isinstance(self._order, scan_orders.NamedOrder)
        order = self._order(shape, device=x.device)
        rank = scan_orders.inverse(order).positions
        inner, z = self.in_proj(x).chunk(2, dim=-1)
        inner = F.silu(over_grid(self.conv2d, inner, shape))
        dt, b, c = (self._each_path(t, rank) for t in self.choose(inner))
        moves = scan_orders.step_labels(order, shape).gather(1, rank)  # of each token
        y = ops.selective_scan(
            inner.transpose(1, 2),
            dt.transpose(-1, -2),
            self.A,
            (b + self.direction_Bs[moves].to(b.dtype)).transpose(-1, -2),
            c.transpose(-1, -2),
            D=self.D,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
            order=order,
        )
        assert isinstance(y, Tensor)
        return self.out_proj(y.sum(1).transpose(1, 2) * F.silu(z))

    def _each_path(self, tokens: Tensor, rank: Tensor) -> Tensor:
        """``(B, L, C) -> (B, K, L, C)``: what each path takes at each token."""
        if self.legacy_unpermuted_dtbc:  # token p[t] is read at step t and gets what t made
            return tokens[:, rank]
        return tokens[:, None].expand(-1, len(rank), -1, -1)
