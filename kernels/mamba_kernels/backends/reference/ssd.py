"""SSD (Mamba-2) as its recurrence, one step after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import (
    bounds_of,
    check_order,
    read,
    segments_of,
    working_dtype,
    write,
)
from mamba_kernels.backends.reference.gradients import recompute


def _scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    chunk_size: int,
    dt_softplus: bool,
    dt_min: float,
    dt_max: float,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    dtype = working_dtype(x, dt, A, B, C, initial_states)
    batch, length, heads, p = x.shape[0], *x.shape[-3:]
    n, paths = B.shape[-1], 1 if order is None else order.shape[-2]
    segments = None if seq_idx is None else segments_of(seq_idx)
    if segments is not None:
        cu_seqlens = segments.cu_seqlens
    bounds = bounds_of(cu_seqlens, length if segments is None else batch * length)
    check_order(order, bounds)

    def tokens(t: Tensor, dims: int) -> Tensor:
        """-> ``(L, B, K, ...)`` in scan order, or all rows in one when they hold segments."""
        if segments is not None:
            t = t.reshape(1, batch * length, *t.shape[2:])
        return read(t.movedim(-dims, 0).to(dtype), order, shared=t.dim() == dims + 1)

    def per_head(t: Tensor) -> Tensor:
        return tokens(t, 3).repeat_interleave(heads // t.shape[-2], dim=3)

    x_, dt_, B_, C_ = tokens(x, 3), tokens(dt, 2), per_head(B), per_head(C)
    if dt_bias is not None:
        dt_ = dt_ + dt_bias.to(dtype)
    if dt_softplus:
        dt_ = F.softplus(dt_)
    dt_ = dt_.clamp(dt_min, dt_max)
    decay = torch.exp(dt_ * A.to(dtype))
    rows = batch if cu_seqlens is None else len(bounds)
    initial = x_.new_zeros(rows, paths, heads, p, n)
    if initial_states is not None:
        given = initial_states.to(dtype).reshape(initial_states.shape[0], paths, heads, p, n)
        initial = given if segments is None else initial.index_put((segments.first,), given)
    steps = list(zip(*(t.unbind(0) for t in (decay, dt_, x_, B_, C_)), strict=True))
    outputs, last = [], []
    for sequence, (start, end) in enumerate(bounds):
        h = initial if cu_seqlens is None else initial[sequence : sequence + 1]
        for decay_t, dt_t, x_t, B_t, C_t in steps[start:end]:
            h = (
                decay_t[..., None, None] * h
                + (dt_t[..., None] * x_t)[..., None] * B_t[..., None, :]
            )
            outputs.append((h * C_t[..., None, :]).sum(-1))
        last.append(h)
    y = torch.stack(outputs) if outputs else torch.zeros_like(x_)
    if D is not None:
        skip = D.to(dtype)
        y = y + (skip if D.dim() > 1 else skip[:, None]) * x_
    if z is not None:
        y = y * F.silu(tokens(z, 3))
    y = write(y, order).movedim(0, 2).to(x.dtype)  # (B, K, L, H, P)
    states = torch.cat(last) if last else initial
    if segments is not None:
        y, states = y.reshape(batch, 1, length, heads, p), states[segments.last]
    if order is None:
        y, states = y.squeeze(1), states.squeeze(1)
    return y.contiguous(), states.clone()


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, last states, and nothing kept for backward."""
    out, last = _scan(*args[:-1])
    return out, last, out.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs."""
    return recompute(_scan, dout, dlast, needs, args)
