"""SSD in two kernels forward, four or (with a gate) five backward.

Forward: the states from chunk to chunk, then all chunks at once. Backward makes the states again,
carries the gradients by them back from chunk to chunk, then does all chunks at once. Everything is
read and written where it lies, in any strides and any order. With ``seq_idx`` the host has to wait
for the number of sequences; with ``cu_seqlens`` it never waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mamba_kernels.backends.layout import segments_of
from mamba_kernels.backends.triton.kernels.ssd_gradients import group_gradients, head_gradients
from mamba_kernels.backends.triton.kernels.ssd_outputs import chunk_outputs
from mamba_kernels.backends.triton.kernels.ssd_states import entering_states, leaving_gradients
from mamba_kernels.backends.triton.launch import (
    check_on_cpu,
    chunk_warps,
    on_device,
    strides,
    zero,
)
from mamba_kernels.backends.triton.ssd_call import Call

HEADS = 4  # heads of a group in one program, which share C B^T


def _call(
    tensors: Sequence[Any],
    numbers: Sequence[Any],
    order: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    backward: bool,
) -> Call:
    """From the nine tensors and (chunk_size, dt_softplus, dt_min, dt_max).

    chunk_size is a hint: the kernels were made for their own.
    """
    check_on_cpu(order, cu_seqlens, tensors[0].shape[-3])
    values: list[Any] = [*tensors, *numbers[1:], order, cu_seqlens, backward]
    return Call(*values)


def _entering(call: Call, last: Tensor | None) -> Tensor:
    """The state before every chunk; fills ``last`` when given."""
    entering = call.x.new_empty((call.slots, *call.state_shape), dtype=call.kept)
    tiles = call.between
    programs = call.rows * call.paths * call.heads * -(-call.x.shape[-1] // tiles["ROWS"])
    entering_states[(programs,)](
        call.x, call.dt, call.A, call.B, call.dt_bias, call.initial, call.order, call.cu_seqlens,
        entering, last,
        call.tokens(call.x), strides(call.dt, 4, paths=True), strides(call.A, 2, paths=False),
        call.grouped(call.B), strides(call.dt_bias, 2, paths=False), call.tokens(call.initial),
        strides(call.order, 3, paths=False),
        call.length, call.paths, call.heads, call.heads // call.groups, call.low, call.high,
        num_stages=2, **tiles, **call.constants,
    )  # fmt: skip
    return entering


def _outputs(call: Call, entering: Tensor, dout: Tensor | None, out: Tensor) -> None:
    """Fill ``out``, ``(batch, paths, length, heads, P)``, as ``chunk_outputs`` does."""
    per_group = call.heads // call.groups
    programs = call.slots * call.paths * call.groups * -(-per_group // HEADS)
    chunk_outputs[(programs,)](
        call.x, call.dt, call.A, call.B, call.C, call.D, call.z, call.dt_bias, call.order,
        call.cu_seqlens, entering, dout, out,
        call.tokens(call.x), strides(call.dt, 4, paths=True), strides(call.A, 2, paths=False),
        call.grouped(call.B), call.grouped(call.C), call.skip(), call.tokens(call.z),
        strides(call.dt_bias, 2, paths=False), strides(call.order, 3, paths=False),
        call.tokens(dout), call.tokens(out),
        call.length, call.rows, call.paths, call.heads, per_group, call.low, call.high,
        *call.state_shape[2:], HEADS=HEADS, num_warps=chunk_warps(), num_stages=1,
        **call.inside(64, 64), **call.constants,
    )  # fmt: skip


def _run(call: Call) -> tuple[Tensor, Tensor]:
    shape = call.state_shape
    out = call.x.new_empty((call.batch, call.paths, *call.x.shape[-3:]))
    last = call.x.new_empty((call.rows, *shape), dtype=torch.float32)
    if out.numel() == 0 or last.numel() == 0:
        if call.initial is None:
            last.zero_()
        else:
            last.copy_(call.initial.reshape(last.shape))
    else:
        _outputs(call, _entering(call, last), None, out)
    return (out, last) if call.order is not None else (out[:, 0], last[:, 0])


@on_device
def forward(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in token order, last states, and nothing kept: backward recomputes the states."""
    *numbers, order, seq_idx, cu_seqlens, _ = options
    tensors = (x, dt, A, B, C, D, z, dt_bias, initial_states)
    if seq_idx is None:
        out, last = _run(_call(tensors, numbers, order, cu_seqlens, backward=False))
        return out, last, x.new_empty(0)
    rows = _Rows(seq_idx)
    call = _call(rows.merged(tensors), numbers, None, rows.segments.cu_seqlens, backward=False)
    out, last = _run(call)
    return out.reshape(x.shape), last[rows.segments.last], x.new_empty(0)


class _Rows:
    """Rows that hold several sequences each, as one packed row."""

    def __init__(self, seq_idx: Tensor) -> None:
        self.segments = segments_of(seq_idx)

    def row(self, t: Any) -> Any:
        return None if t is None else t.reshape(1, -1, *t.shape[2:])

    def states(self, t: Tensor | None, at: Tensor) -> Any:
        """States of the rows as states of all segments, the others zero."""
        if t is None:
            return None
        count = self.segments.cu_seqlens.shape[0] - 1
        return t.new_zeros(count, *t.shape[1:]).index_copy(0, at, t)

    def merged(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        x, dt, A, B, C, D, z, bias, initial = tensors
        row = self.row
        initial = self.states(initial, self.segments.first)
        return row(x), row(dt), A, row(B), row(C), D, row(z), bias, initial


@on_device
def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    *options: Any,
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs; None for those that are absent."""
    *numbers, order, seq_idx, cu_seqlens = options
    tensors = (x, dt, A, B, C, D, z, dt_bias, initial_states)
    if seq_idx is None:
        call = _call(tensors, numbers, order, cu_seqlens, backward=True)
        return _run_backward(call, dout, dlast)
    rows = _Rows(seq_idx)
    call = _call(rows.merged(tensors), numbers, None, rows.segments.cu_seqlens, backward=True)
    grads = _run_backward(call, rows.row(dout), rows.states(dlast, rows.segments.last))
    *grads, dinitial = grads
    if dinitial is not None:
        dinitial = dinitial[rows.segments.first]
    return [
        grad if grad is None or t is None else grad.reshape(t.shape)
        for grad, t in zip([*grads, dinitial], tensors, strict=True)
    ]


def _leaving(call: Call, dy: Tensor, dlast: Tensor | None, dinitial: Tensor | None) -> Tensor:
    """The gradient by the state behind every chunk; fills ``dinitial`` when given."""
    leaving = call.x.new_empty((call.slots, *call.state_shape), dtype=call.kept)
    tiles = call.between
    programs = call.rows * call.paths * call.heads * -(-call.x.shape[-1] // tiles["ROWS"])
    leaving_gradients[(programs,)](
        dy, dlast, call.z, call.dt, call.A, call.C, call.dt_bias, call.order, call.cu_seqlens,
        leaving, dinitial,
        call.tokens(dy), call.tokens(dlast), call.tokens(call.z), strides(call.dt, 4, paths=True),
        strides(call.A, 2, paths=False), call.grouped(call.C),
        strides(call.dt_bias, 2, paths=False), strides(call.order, 3, paths=False),
        call.length, call.paths, call.heads, call.heads // call.groups, call.low, call.high,
        num_stages=2, **tiles, **call.constants,
    )  # fmt: skip
    return leaving


def _run_backward(call: Call, dout: Tensor | None, dlast: Tensor | None) -> list[Tensor | None]:
    x, D = call.x, call.D
    batch, paths, heads, length = call.batch, call.paths, call.heads, call.length
    p, n = x.shape[-1], call.B.shape[-1]
    if x.numel() == 0 or n == 0 or call.rows == 0:  # no step depends on anything
        return [None] * 8 + [dlast if call.initial is not None else None]

    def per_token(like: Tensor | None) -> Tensor | None:
        """Where paths share an input, its gradients per path are kept exact until their sum."""
        if like is None:
            return None
        shared = like.dim() == 4 and paths > 1
        dtype = torch.float32 if shared else like.dtype
        return x.new_empty((batch, paths, length, heads, p), dtype=dtype)

    def partial(like: Tensor | None, *shape: int) -> Tensor | None:
        return None if like is None else x.new_empty(shape, dtype=torch.float32)

    dy = dout
    if dy is None:
        dy = zero((batch, paths, length, heads, p), x)
    dinitial = partial(call.initial, call.rows, *call.state_shape)
    entering = _entering(call, None)
    leaving = _leaving(call, dy, dlast, dinitial)
    dz = per_token(call.z)
    if dz is not None:
        _outputs(call, entering, dy, dz)
    per_group = call.heads // call.groups
    blocks = -(-per_group // HEADS)
    dx = per_token(x)
    ddt = x.new_empty((batch, paths, length, heads), dtype=call.dt.dtype)
    dA = partial(x, call.slots, paths, heads)
    dbias = partial(call.dt_bias, call.slots, paths, heads)
    dD = partial(D, call.slots, paths, heads, p)
    dB, dC = (
        x.new_empty((blocks, batch, paths, length, call.groups, n), dtype=torch.float32)
        for _ in range(2)
    )
    token_inputs = (call.tokens(dy), call.tokens(x), strides(call.dt, 4, paths=True))
    grouped = (strides(call.A, 2, paths=False), call.grouped(call.B), call.grouped(call.C))
    others = (
        call.tokens(call.z), strides(call.dt_bias, 2, paths=False),
        strides(call.order, 3, paths=False),
    )  # fmt: skip
    tiles = call.inside(32, 64)
    parts = -(-n // tiles["COLUMNS"])
    head_gradients[(call.slots * paths * heads,)](
        dy, x, call.dt, call.A, call.B, call.C, D, call.z, call.dt_bias, call.order,
        call.cu_seqlens, entering, leaving,
        dx, ddt, dA, dD, dbias,
        *token_inputs, *grouped, call.skip(), *others,
        call.tokens(dx), ddt.stride(),
        length, call.rows, paths, heads, per_group, call.low, call.high, p, n,
        num_warps=chunk_warps(), num_stages=1, **call.inside(32, 32), **call.constants,
    )  # fmt: skip
    group_gradients[(call.slots * paths * call.groups * blocks * parts,)](
        dy, x, call.dt, call.A, call.B, call.C, call.z, call.dt_bias, call.order, call.cu_seqlens,
        entering, leaving, dB, dC,
        *token_inputs, *grouped, *others,
        length, call.rows, batch, paths, heads, per_group, call.low, call.high, p,
        HEADS=HEADS, num_warps=chunk_warps(), num_stages=1, **tiles, **call.constants,
    )  # fmt: skip

    def tokens_in(grad: Tensor | None, like: Tensor | None) -> Tensor | None:
        if grad is None or like is None:
            return None
        return grad if like.dim() == 5 else grad.sum(1) if paths > 1 else grad[:, 0]

    def parameter(grad: Tensor | None, like: Tensor | None) -> Tensor | None:
        if grad is None or like is None:
            return None
        grad = grad.sum(0)
        return grad if like.dim() == grad.dim() else grad.sum(0)

    def groups_in(grad: Tensor, like: Tensor) -> Tensor:
        grad = grad.sum(0)
        grad = grad if like.shape[-2] == call.groups else grad.sum(-2, keepdim=True)
        return grad.reshape(like.shape)

    def skip_in(grad: Tensor | None) -> Tensor | None:
        if grad is None or D is None:
            return None
        grad = grad.sum(0)  # (K, H, P)
        if D.dim() == 3:
            return grad
        return grad.sum(0) if D.dim() == 2 else grad.sum((0, 2))

    if dinitial is not None and call.order is None:
        dinitial = dinitial[:, 0]
    return [
        tokens_in(dx, x),
        ddt.reshape(call.dt.shape),
        parameter(dA, call.A),
        groups_in(dB, call.B),
        groups_in(dC, call.C),
        skip_in(dD),
        tokens_in(dz, call.z),
        parameter(dbias, call.dt_bias),
        dinitial,
    ]
