"""One or several steps of the scan, as its equations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import check_rows, working_dtype


def _per_channel(x: Tensor, heads: bool, channels: int) -> Tensor:
    """``(B, [G,] N)`` -> ``(B, D, N)`` or, with heads, ``(B, H, 1, N)``."""
    x = x if x.dim() == 3 else x[:, None]
    x = x.repeat_interleave(channels // x.shape[1], dim=1)
    return x[:, :, None] if heads else x


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
    several, heads = x.dim() == state.dim(), state.dim() == 4
    B, C, dt, inputs = (t.to(dtype) if several else t.to(dtype)[..., None] for t in (B, C, dt, x))
    if dt_bias is not None:
        dt = dt + dt_bias.to(dtype)[..., None]
    if dt_softplus:
        dt = F.softplus(dt)
    h, steps = state[rows].to(dtype), []
    for t in range(inputs.shape[-1]):
        b, c = (_per_channel(v[..., t], heads, x.shape[1]) for v in (B, C))
        h = torch.exp(dt[..., t, None] * A.to(dtype)) * h + (dt * inputs)[..., t, None] * b
        steps.append((h * c).sum(-1))
    state[rows] = h.to(state.dtype)
    y = torch.stack(steps, -1) if steps else torch.zeros_like(inputs)
    if D is not None:
        y = y + D.to(dtype)[..., None] * inputs
    y = y.reshape(x.shape)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return y.to(x.dtype).contiguous()
