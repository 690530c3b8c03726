"""One step of the scan with few passes over the state."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import check_rows, working_dtype


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
    inputs, dt = x.to(dtype), dt.to(dtype)
    if dt_bias is not None:
        dt = dt + dt_bias.to(dtype)
    if dt_softplus:
        dt = F.softplus(dt)
    in_place = state_batch_indices is None and state.dtype == dtype
    h = state
    if not in_place:
        h = (state if state_batch_indices is None else state[state_batch_indices.long()]).to(dtype)
    groups = max(b.shape[1] if b.dim() == 3 else 1 for b in (B, C))
    decay = torch.exp2((dt / math.log(2))[..., None] * A.to(dtype))  # much faster than exp
    h = h.mul_(decay) if in_place else h * decay

    def grouped(t: Tensor) -> Tensor:
        """Channels or heads split into groups, ``(B, G, ...)``."""
        return t.unflatten(1, (groups, t.shape[1] // groups))

    def across(t: Tensor) -> Tensor:
        """B or C against ``(B, G, channels..., N)``."""
        t = t.to(dtype) if t.dim() == 3 else t.to(dtype)[:, None]
        return t.reshape(t.shape[0], t.shape[1], *[1] * (x.dim() - 1), t.shape[-1])

    # a view of h, also of a strided one: the first dimension is only split
    grouped(h).addcmul_(grouped((dt * inputs)[..., None]), across(B))
    y = (grouped(h) * across(C)).sum(-1).flatten(1, 2)
    if not in_place:
        if state_batch_indices is None:
            state.copy_(h)
        else:
            state[state_batch_indices.long()] = h.to(state.dtype)
    if D is not None:
        y.addcmul_(D.to(dtype), inputs)
    if z is not None:
        y.mul_(F.silu(z.to(dtype)))
    return y.to(x.dtype).contiguous()
