"""SSD by matmuls on chunks of time, with its own backward.

Here the call is brought into chunk form and back; ``_ssd_plan`` says where the chunks lie,
``_ssd_core`` computes on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.eager._ssd_core import Core
from mamba_kernels.backends.eager._ssd_plan import Chunks, Plan, make_plan
from mamba_kernels.backends.layout import read, segments_of, working_dtype, write
from mamba_kernels.backends.reference.gradients import recompute


def _prepare(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    dt_softplus: bool,
    limits: tuple[float, float],
    order: Tensor | None,
    plan: Plan,
) -> Chunks:
    """Differentiable: backward pulls the gradients of the chunks back through it."""
    dtype = working_dtype(x, dt, A, B, C, initial_states)
    batch, length, heads, p = x.shape[0], *x.shape[-3:]
    paths = 1 if order is None else order.shape[-2]
    groups = max(B.shape[-2], C.shape[-2])
    q, per_group = batch * paths * groups, heads // groups

    def tokens(t: Tensor, dims: int) -> Tensor:
        return read(t.movedim(-dims, 0).to(dtype), order, shared=t.dim() == dims + 1)

    def grouped(t: Tensor) -> Tensor:
        t = tokens(t, 3).expand(-1, -1, -1, groups, -1)
        return plan.cut(t.reshape(length, q, t.shape[-1]))

    steps = tokens(dt, 2)
    if dt_bias is not None:
        steps = steps + dt_bias.to(dtype)
    if dt_softplus:
        steps = F.softplus(steps)
    if limits != (0.0, float("inf")) or not dt_softplus:
        steps = steps.clamp(*limits)
    h0 = None
    if initial_states is not None:
        h0 = initial_states.to(dtype).reshape(plan.sequences, q, per_group, p, B.shape[-1])
    return Chunks(
        x=plan.cut(tokens(x, 3).reshape(length, q, per_group, p)),
        dt=plan.cut(steps.reshape(length, q, per_group)),
        A=A.to(dtype).expand(batch, paths, heads).reshape(q, per_group),
        B=grouped(B),
        C=grouped(C),
        h0=h0,
    )


def _epilogue(
    y: Tensor, x: Tensor, D: Tensor | None, z: Tensor | None, order: Tensor | None
) -> Tensor:
    """Skip and gate in token order: all ``(B, K, L, H, P)`` or without K."""

    def by_path(t: Tensor) -> Tensor:
        return (t if t.dim() == 5 else t[:, None]).to(y.dtype)

    if D is not None:
        skip = D.to(y.dtype)
        skip = skip[:, None] if D.dim() == 1 else skip
        y = y + (skip[:, None] if D.dim() == 3 else skip) * by_path(x)
    return y if z is None else y * F.silu(by_path(z))


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
    chunk_size: int,  # a hint for devices with tensor cores; a CPU wants its own
    dt_softplus: bool,
    dt_min: float,
    dt_max: float,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
    compute: bool = True,
) -> tuple[Tensor, Tensor]:
    if seq_idx is not None:
        return _scan_segments(
            seq_idx, x, dt, A, B, C, D, z, dt_bias, initial_states,
            chunk_size, dt_softplus, dt_min, dt_max, compute,
        )  # fmt: skip
    (batch, length), (heads, p) = (x.shape[0], x.shape[-3]), x.shape[-2:]
    paths = 1 if order is None else order.shape[-2]
    plan = make_plan(cu_seqlens, length, order)
    chunks = _prepare(
        x, dt, A, B, C, dt_bias, initial_states, dt_softplus, (dt_min, dt_max), order, plan
    )
    y, last = Core.apply(
        chunks.x, chunks.dt, chunks.A, chunks.B, chunks.C, chunks.h0, plan, compute
    )
    y = write(plan.join(y).reshape(length, batch, paths, heads, p), order).movedim(0, 2)
    y = _epilogue(y, x, D, z, order).to(x.dtype)
    last = last.reshape(batch * plan.sequences, paths, heads, p, B.shape[-1])
    return (y.squeeze(1), last.squeeze(1)) if order is None else (y, last)


def _scan_segments(
    seq_idx: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial: Tensor | None,
    *options: Any,
) -> tuple[Tensor, Tensor]:
    """All rows one after another as one packed row."""
    segments = segments_of(seq_idx)

    def merged(t: Tensor) -> Tensor:
        return t.reshape(1, t.shape[0] * t.shape[1], *t.shape[2:])

    if initial is not None:
        count = segments.cu_seqlens.shape[0] - 1
        initial = initial.new_zeros(count, *initial.shape[1:]).index_put((segments.first,), initial)
    chunk_size, dt_softplus, dt_min, dt_max, compute = options
    gate = None if z is None else merged(z)
    out, last = _scan(
        merged(x), merged(dt), A, merged(B), merged(C), D, gate, dt_bias, initial,
        chunk_size, dt_softplus, dt_min, dt_max, None, None, segments.cu_seqlens, compute,
    )  # fmt: skip
    return out.reshape(x.shape), last[segments.last]


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in token order, last states, and nothing kept: backward recomputes the states."""
    out, last = _scan(*args[:-1])
    return out.contiguous(), last.contiguous(), out.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs; outputs are made again only for the gate's sake."""
    gated = args[6] is not None
    return recompute(_scan, dout, dlast, needs, (*args, gated))
