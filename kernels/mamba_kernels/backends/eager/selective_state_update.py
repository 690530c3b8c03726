"""One or several steps of the scan with few passes over the state."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import check_rows, working_dtype


def _move(h: Tensor, decay: Tensor, added: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """``C h``, with h moved on in place.

    :param h: ``(B, channels..., N)``; ``decay`` alike.
    :param added: ``dt x``, ``(B, channels...)``.
    :param B: ``(B, [G,] N)``; C alike.
    """
    B, C = (t if t.dim() == 3 else t[:, None] for t in (B, C))
    groups = max(B.shape[1], C.shape[1])

    def grouped(t: Tensor) -> Tensor:
        """Channels or heads split into groups, ``(B, G, ...)``."""
        return t.unflatten(1, (groups, t.shape[1] // groups))

    def across(t: Tensor) -> Tensor:
        """B or C against ``(B, G, channels..., N)``."""
        return t.reshape(t.shape[0], t.shape[1], *[1] * (h.dim() - 2), t.shape[-1])

    h.mul_(decay)
    # a view of h, also of a strided one: the first dimension is only split
    grouped(h).addcmul_(grouped(added[..., None]), across(B))
    return (grouped(h) * across(C)).sum(-1).flatten(1, 2)


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
    several = x.dim() == state.dim()
    inputs, dt, B, C = (t.to(dtype) for t in (x, dt, B, C))
    D, dt_bias = (t if t is None or not several else t[..., None] for t in (D, dt_bias))
    if dt_bias is not None:
        dt = dt + dt_bias.to(dtype)
    if dt_softplus:
        dt = F.softplus(dt)
    h = state
    if state_batch_indices is not None or state.dtype != dtype:  # else moved where it lies
        h = (state if state_batch_indices is None else state[state_batch_indices.long()]).to(dtype)
    A, step, added = A.to(dtype), dt / math.log(2), dt * inputs  # 2^x is much faster than e^x
    if several:
        y = torch.empty_like(inputs)
        for t in range(x.shape[-1]):
            decay = torch.exp2(step[..., t, None] * A)
            y[..., t] = _move(h, decay, added[..., t], B[..., t], C[..., t])
    else:
        y = _move(h, torch.exp2(step[..., None] * A), added, B, C)
    if state_batch_indices is not None:
        state[state_batch_indices.long()] = h.to(state.dtype)
    elif h is not state:
        state.copy_(h)
    if D is not None:
        y.addcmul_(D.to(dtype), inputs)
    if z is not None:
        y.mul_(F.silu(z.to(dtype)))
    return y.to(x.dtype).contiguous()
