"""The selective scan as its equations, one step after another; real and complex A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import bounds_of, check_order, read, working_dtype, write
from mamba_kernels.backends.reference.gradients import recompute


def _over_time(x: Tensor, A: Tensor, batch: int, paths: int, order: Tensor | None) -> Tensor:
    """B or C -> ``(L, B, K, D, N)`` in scan order; L is 1 where it does not change over time."""
    channels, n = A.shape[-2:]
    if x.dim() == 2:
        return x.expand(1, batch, paths, channels, n)
    if A.is_complex():
        x = torch.complex(x[..., ::2], x[..., 1::2])  # a view would need an even storage offset
    groups = x.shape[-3] if x.dim() == (4 if order is None else 5) else 1
    x = x.movedim(-1, 0).reshape(x.shape[-1], batch, paths, groups, n)
    x = read(x.squeeze(2) if order is None else x, order, shared=order is None)
    return x.repeat_interleave(channels // x.shape[3], dim=3)


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    dtype = working_dtype(u, delta, A, B, C, initial_state)
    state_dtype = dtype.to_complex() if A.is_complex() else dtype
    batch, length = u.shape[0], u.shape[-1]
    bounds = bounds_of(cu_seqlens, length)
    check_order(order, bounds)
    paths = 1 if order is None else order.shape[-2]
    A = A.to(state_dtype)

    def tokens(x: Tensor) -> Tensor:
        return read(x.movedim(-1, 0).to(dtype), order, shared=x.dim() == 3)

    u_, dt = tokens(u), tokens(delta)  # (L, B, K, D)
    if delta_bias is not None:
        dt = dt + delta_bias.to(dtype)
    if delta_softplus:
        dt = F.softplus(dt)
    B_ = _over_time(B.to(state_dtype if B.is_complex() else dtype), A, batch, paths, order)
    C_ = _over_time(C.to(state_dtype if C.is_complex() else dtype), A, batch, paths, order)
    # unbind, not slices: the backward of a slice fills a whole zero tensor
    steps = list(
        zip(
            dt.unbind(0),
            u_.unbind(0),
            B_.expand(length, -1, -1, -1, -1).unbind(0),
            C_.expand(length, -1, -1, -1, -1).unbind(0),
            strict=True,
        )
    )
    rows = batch if cu_seqlens is None else len(bounds)
    if initial_state is None:
        initial = A.new_zeros(rows, paths, *A.shape[-2:])
    else:
        initial = initial_state.to(state_dtype).reshape(rows, paths, *A.shape[-2:])
    outputs, last = [], []
    for sequence, (start, end) in enumerate(bounds):
        h = initial if cu_seqlens is None else initial[sequence : sequence + 1]
        for dt_t, u_t, B_t, C_t in steps[start:end]:
            h = torch.exp(dt_t[..., None] * A) * h + (dt_t * u_t)[..., None] * B_t
            y = (h * C_t).sum(-1)
            outputs.append(2 * y.real if y.is_complex() else y)
        last.append(h)
    y = torch.stack(outputs) if outputs else torch.zeros_like(u_)
    if D is not None:
        y = y + D.to(dtype) * u_
    if z is not None:
        y = y * F.silu(tokens(z))
    y = write(y, order).movedim(0, -1).to(u.dtype)
    states = torch.cat(last) if last else initial
    if order is None:
        y, states = y.squeeze(1), states.squeeze(1)
    return y.contiguous(), states.clone()


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, last state, and nothing kept for backward."""
    u, keep = args[0], args[-1]
    del keep  # backward starts over
    out, last = _scan(*args[:-1])
    return out, last, u.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs."""
    return recompute(_scan, dout, dlast, needs, args)
