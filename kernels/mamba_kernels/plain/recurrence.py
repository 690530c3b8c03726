"""The two scans as a loop over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import working_dtype
from mamba_kernels.plain.paths import read, refuse, write

Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, Tensor]]


def over_time(step: Step, state: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Apply ``step(state, inputs at t) -> (state, output)`` to every t.

    :param inputs: ``(L, ...)`` each, L at least 1.
    :returns: the last state, and the outputs ``(L, ...)``.
    """
    if torch.compiler.is_exporting():
        from torch._higher_order_ops.scan import scan

        last, outputs = scan(step, state, inputs, dim=0)
        return last, outputs
    outputs = []
    for values in zip(*(x.unbind(0) for x in inputs), strict=True):
        state, output = step(state, values)
        outputs.append(output)
    return state, torch.stack(outputs)


def selective_scan(
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
    """See :func:`mamba_kernels.ops.selective_scan`; real A, nothing packed.

    :returns: outputs in token order, and the last state.
    """
    refuse("selective_scan", cu_seqlens=cu_seqlens, complex_A=A.is_complex())
    dtype = working_dtype(u, delta, A, B, C, initial_state)
    ndim = 3 if order is None else 4

    def tokens(x: Tensor) -> Tensor:
        return read(x.to(dtype), order, shared=x.dim() == 3)  # (B, K, D, L)

    def per_path(x: Tensor, dims: int) -> Tensor:
        return x.to(dtype) if x.dim() > dims else x.to(dtype).unsqueeze(0)  # (K or 1, D, ...)

    def over_steps(x: Tensor) -> Tensor:
        """B or C -> ``(L, B or 1, K or 1, D or 1, N)``."""
        if x.dim() == 2:
            return x.to(dtype).expand(u.shape[-1], 1, 1, -1, -1)
        x = x.to(dtype)
        if x.dim() == ndim:  # one group
            x = x.unsqueeze(-3)
        x = read(x, order, shared=order is None)
        if x.shape[-3] > 1:
            x = x.repeat_interleave(A.shape[-2] // x.shape[-3], dim=-3)
        return x.movedim(-1, 0)

    u_, dt = tokens(u), tokens(delta)
    if delta_bias is not None:
        dt = dt + per_path(delta_bias, 1)[..., None]
    dt = F.softplus(dt) if delta_softplus else dt
    u_ = u_.expand(dt.shape)
    decay = per_path(A, 2)
    first = _start(initial_state, (dt.shape[0], dt.shape[1], *A.shape[-2:]), dt)

    def step(h: Tensor, values: Any) -> tuple[Tensor, Tensor]:
        dt_t, u_t, b_t, c_t = values
        h = torch.exp(dt_t[..., None] * decay) * h + (dt_t * u_t)[..., None] * b_t
        return h, (h * c_t).sum(-1)

    inputs = (dt.movedim(-1, 0), u_.movedim(-1, 0), over_steps(B), over_steps(C))
    last, y = over_time(step, first, inputs)
    y = y.movedim(0, -1)
    y = y if D is None else y + per_path(D, 1)[..., None] * u_
    y = y if z is None else y * F.silu(tokens(z))
    return write(y, order).to(u.dtype), last if order is not None else last.squeeze(1)


def ssd(
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
    """See :func:`mamba_kernels.ops.ssd`; nothing packed.

    :returns: outputs in token order, and the last state.
    """
    refuse("ssd", cu_seqlens=cu_seqlens, seq_idx=seq_idx)
    dtype = working_dtype(x, dt, A, B, C, initial_states)
    heads, p = x.shape[-2:]

    def tokens(t: Tensor, dims: int) -> Tensor:
        """``(B, [K,] L, ...)`` -> ``(B, K, ..., L)`` in scan order."""
        return read(t.to(dtype).movedim(-dims, -1), order, shared=t.dim() == dims + 1)

    def per_head(t: Tensor) -> Tensor:
        return tokens(t, 3).repeat_interleave(heads // t.shape[-2], dim=2)

    def per_path(t: Tensor) -> Tensor:
        return t.to(dtype)[..., None]  # (H, 1) or (K, H, 1)

    x_, dt_, b, c = tokens(x, 3), tokens(dt, 2), per_head(B), per_head(C)
    dt_ = dt_ if dt_bias is None else dt_ + per_path(dt_bias)
    dt_ = (F.softplus(dt_) if dt_softplus else dt_).clamp(dt_min, dt_max)
    decay = torch.exp(dt_ * per_path(A))
    x_ = x_.expand(x_.shape[0], dt_.shape[1], *x_.shape[2:])
    first = _start(initial_states, (x_.shape[0], dt_.shape[1], heads, p, B.shape[-1]), x_)

    def step(h: Tensor, values: Any) -> tuple[Tensor, Tensor]:
        decay_t, x_t, b_t, c_t = values
        h = decay_t[..., None, None] * h + x_t[..., None] * b_t[..., None, :]
        return h, (h * c_t[..., None, :]).sum(-1)

    inputs = (decay, x_ * dt_[..., None, :], b, c)
    last, y = over_time(step, first, tuple(t.movedim(-1, 0) for t in inputs))
    y = y.movedim(0, -1)
    if D is not None:
        skip = D.to(dtype)
        y = y + (skip if D.dim() > 1 else skip[:, None])[..., None] * x_
    y = y if z is None else y * F.silu(tokens(z, 3))
    y = write(y, order).movedim(-1, -3).to(x.dtype)
    return y, last if order is not None else last.squeeze(1)


def _start(given: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """The state before the first token."""
    return like.new_zeros(shape) if given is None else given.to(like.dtype).reshape(shape)
