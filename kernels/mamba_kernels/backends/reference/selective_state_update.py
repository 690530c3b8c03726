"""One step of the scan, as its equations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import check_rows, working_dtype


def _per_channel(x: Tensor, dims: int, channels: int) -> Tensor:
    """``(B, [G,] N)`` -> ``(B, D, N)`` or, with heads, ``(B, H, 1, N)``."""
    x = x if x.dim() == 3 else x[:, None]
    x = x.repeat_interleave(channels // x.shape[1], dim=1)
    return x if dims == 2 else x[:, :, None]


def update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_softplus: bool,
    state_batch_indices: Tensor | None,
) -> Tensor:
    """The output; ``state`` is moved on in place."""
    dtype = working_dtype(state, x, dt, A)
    if state_batch_indices is not None:
        check_rows(state_batch_indices, state.shape[0])
    rows = slice(None) if state_batch_indices is None else state_batch_indices.long()
    dt, inputs = dt.to(dtype), x.to(dtype)
    if dt_bias is not None:
        dt = dt + dt_bias.to(dtype)
    if dt_softplus:
        dt = F.softplus(dt)
    B = _per_channel(B.to(dtype), x.dim(), x.shape[1])
    C = _per_channel(C.to(dtype), x.dim(), x.shape[1])
    h = torch.exp(dt[..., None] * A.to(dtype)) * state[rows].to(dtype)
    h = h + (dt * inputs)[..., None] * B
    state[rows] = h.to(state.dtype)
    y = (h * C).sum(-1)
    if D is not None:
        y = y + D.to(dtype) * inputs
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return y.to(x.dtype).contiguous()
