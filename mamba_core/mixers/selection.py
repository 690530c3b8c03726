"""The selective parameters of Mamba-1 as a part of its own, for mixers that scan otherwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import initial


class Selection(initial.KeepsFloat32):
    """x -> step sizes and B of one recurrence, with its A.

    :param d_inner: channels of x.
    :param d_state: N, numbers of state per channel.
    :param reads: also C, what the states are read with.
    :param dt_rank: width of the projection behind dt; None is ``ceil(d_inner / 32)``.
    """

    def __init__(
        self, d_inner: int, d_state: int, *, reads: bool = False, dt_rank: int | None = None
    ) -> None:
        super().__init__()
        rank = dt_rank or math.ceil(d_inner / 32)
        self.widths = [rank, d_state, d_state] if reads else [rank, d_state]
        self.x_proj = nn.Linear(d_inner, sum(self.widths), bias=False)
        self.dt_proj = initial.DtProjection(rank, d_inner, bias=True)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        bias = initial.dt_bias(d_inner, 0.001, 0.1, 1e-4, None)
        self.dt_proj.bias = initial.protect(nn.Parameter(bias))
        log = torch.log(-initial.a_real(d_state)).expand(d_inner, -1).contiguous()
        self.A_log = initial.protect(nn.Parameter(log))

    def float32_parameters(self) -> list[nn.Parameter]:
        """A and the dt bias."""
        return [self.A_log, self.dt_proj.bias]

    @property
    def A(self) -> Tensor:
        """``(d_inner, N)``, negative."""
        return -torch.exp(self.A_log)

    def choose(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(B, L, d_inner)`` -> dt before bias and softplus, like x; B (and C) ``(B, L, N)``."""
        dt, *rest = self.x_proj(x).split(self.widths, dim=-1)
        return self.dt_proj(dt), *rest

    def finished(self, dt: Tensor) -> Tensor:
        """dt with its bias, through softplus, at least in fp32."""
        bias = self.dt_proj.bias
        return F.softplus(dt.to(bias.dtype) + bias)
