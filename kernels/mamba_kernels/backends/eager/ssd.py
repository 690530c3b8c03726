"""SSD by matmuls on chunks of time, with its own backward.

A chunk never straddles two sequences, so nothing of one, not even a NaN, can reach the other.
B and C stay per group: ``C B^T`` is computed once for all heads that share it. Decays between two
steps are exponents of masked differences; their sums and differences are made in double precision,
where the device has it, because the gradient of A is a difference of large sums.

Letters: F chunks of all scans together, c steps of a chunk, h heads of a group, P, N.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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

CHUNK = 64
WORKSPACE = 1 << 20  # elements of a (heads, c, c) workspace that are worked on at a time


@dataclass
class _Chunks:
    """The call cut into chunks; Q independent scans of n chunks each."""

    x: Tensor  # (Q, n, c, h, P)
    dt: Tensor  # (Q, n, c, h), finished
    A: Tensor  # (Q, h)
    B: Tensor  # (Q, n, c, N)
    C: Tensor  # (Q, n, c, N)
    h0: Tensor | None  # (S, Q, h, P, N)


@dataclass(frozen=True)
class _Plan:
    """Where each sequence begins and ends among the chunks."""

    chunk: int
    count: int
    length: int
    first: dict[int, int]  # chunk -> sequence that starts there
    last: dict[int, int]  # chunk -> sequence that ends there
    sequences: int
    index: Tensor | None  # (count * chunk,) token of each place, `length` where there is none

    def cut(self, t: Tensor) -> Tensor:
        """``(L, Q, ...)`` -> ``(Q, n, c, ...)``; zeros where there is no token."""
        if self.index is None:
            spare = self.count * self.chunk - self.length
            t = torch.cat([t, t.new_zeros(spare, *t.shape[1:])]) if spare else t
        else:
            t = torch.cat([t, t.new_zeros(1, *t.shape[1:])]).index_select(0, self.index)
        return t.transpose(0, 1).unflatten(1, (self.count, self.chunk))

    def join(self, t: Tensor) -> Tensor:
        """The inverse of :meth:`cut`, ``(L, Q, ...)``."""
        t = t.flatten(1, 2).transpose(0, 1)
        if self.index is None:
            return t[: self.length]
        whole = t.new_empty(self.length + 1, *t.shape[1:])
        whole[self.index] = t
        return whole[: self.length]


def _plan(cu_seqlens: Tensor | None, length: int, order: Tensor | None) -> _Plan:
    bounds = bounds_of(cu_seqlens, length)
    check_order(order, bounds)
    mean = length / max(len(bounds), 1)
    chunk = next((c for c in (16, 32) if mean <= c), CHUNK)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    places: list[Tensor] = []
    count = 0
    for sequence, (start, end) in enumerate(bounds):
        if end > start:
            here = -(-(end - start) // chunk)
            first[count] = sequence
            count += here
            last[count - 1] = sequence
            if cu_seqlens is not None:
                tokens = torch.arange(start, start + here * chunk)
                places.append(tokens.masked_fill_(tokens >= end, length))
    index = torch.cat(places).to(cu_seqlens.device) if cu_seqlens is not None and places else None
    count = max(count, 1)  # no tokens at all: one chunk of nothing
    return _Plan(chunk, count, length, first, last, len(bounds), index)


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
    plan: _Plan,
) -> _Chunks:
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
    return _Chunks(
        x=plan.cut(tokens(x, 3).reshape(length, q, per_group, p)),
        dt=plan.cut(steps.reshape(length, q, per_group)),
        A=A.to(dtype).expand(batch, paths, heads).reshape(q, per_group),
        B=grouped(B),
        C=grouped(C),
        h0=h0,
    )


def _double(t: Tensor) -> Tensor:
    return t if t.device.type == "mps" else t.double()


@dataclass
class _Decays:
    """Log decays of the chunks, and what follows from them."""

    log: Tensor  # (F, c, h), from the chunk's start to after each step, double
    in_: Tensor  # (F, c, h), exp(log)
    out: Tensor  # (F, c, h), from after each step to the chunk's end
    whole: Tensor  # (F, h)


def _decays(chunks: _Chunks) -> _Decays:
    log = torch.cumsum(_double(chunks.dt) * _double(chunks.A)[:, None, None], 2).flatten(0, 1)
    dtype, end = chunks.x.dtype, log[:, -1:]
    return _Decays(log, log.exp().to(dtype), (end - log).exp().to(dtype), end[:, 0].exp().to(dtype))


def _entering_states(chunks: _Chunks, decays: _Decays, plan: _Plan) -> tuple[Tensor, Tensor]:
    """States before each chunk ``(F, h, P, N)`` and at the end of each sequence (S, Q, h, P, N)."""
    q, n, c, h, p = chunks.x.shape
    weight = (chunks.dt.flatten(0, 1) * decays.out)[..., None]
    x = (chunks.x.flatten(0, 1) * weight).flatten(2)  # (F, c, h P)
    states = torch.bmm(x.transpose(1, 2), chunks.B.flatten(0, 1)).view(q, n, h, p, -1)
    whole = decays.whole.view(q, n, h, 1, 1)
    last = states.new_zeros(plan.sequences, q, h, p, states.shape[-1])
    if chunks.h0 is not None:
        last.copy_(chunks.h0)
    state: Tensor | None = None
    for i in range(n):
        if i in plan.first:
            state = None if chunks.h0 is None else chunks.h0[plan.first[i]]
        made = states[:, i].clone()
        states[:, i] = 0 if state is None else state
        state = made if state is None else made.addcmul_(whole[:, i], state)
        if i in plan.last:
            last[plan.last[i]] = state
    return states.flatten(0, 1), last


def _pieces(total: int, size: int) -> Iterator[slice]:
    """Runs of chunks whose workspaces stay in cache."""
    step = max(1, WORKSPACE // max(size, 1))
    return (slice(i, i + step) for i in range(0, total, step))


def _between(log: Tensor, dtype: torch.dtype) -> Tensor:
    """Decays from after step j to after step i, ``(f, h, c, c)``; zero where i < j."""
    log = log.transpose(1, 2)
    c = log.shape[-1]
    future = torch.ones(c, c, dtype=torch.bool, device=log.device).triu_(1)
    difference = (log[..., :, None] - log[..., None, :]).to(dtype)
    # masked before exp: differences of the future are positive and would overflow
    return difference.masked_fill_(future, float("-inf")).exp_()


def _outputs(chunks: _Chunks, decays: _Decays, states: Tensor) -> Tensor:
    """y without skip and gate, ``(Q, n, c, h, P)``."""
    y = torch.empty_like(chunks.x, memory_format=torch.contiguous_format)
    out, x, dt = y.flatten(0, 1), chunks.x.flatten(0, 1), chunks.dt.flatten(0, 1)
    B, C = chunks.B.flatten(0, 1), chunks.C.flatten(0, 1)
    total, c, h, p = x.shape
    for s in _pieces(total, c * c * h):
        mixing = _between(decays.log[s], x.dtype)
        mixing *= torch.bmm(C[s], B[s].transpose(1, 2))[:, None]
        inputs = (x[s] * dt[s][..., None]).transpose(1, 2)
        torch.add(
            torch.matmul(mixing, inputs).transpose(1, 2),
            torch.bmm(C[s], states[s].flatten(1, 2).transpose(1, 2)).unflatten(2, (h, p))
            * decays.in_[s][..., None],
            out=out[s],
        )
    return y


def _entering_gradients(
    chunks: _Chunks, decays: _Decays, plan: _Plan, direct: Tensor, dlast: Tensor | None
) -> tuple[Tensor, Tensor]:
    """From gradients of the entering states by their own chunk, those of the leaving states
    ``(F, h, P, N)`` and of the initial states (S, Q, h, P, N)."""
    q, n, _, h, _ = chunks.x.shape
    direct = direct.unflatten(0, (q, n))
    whole = decays.whole.view(q, n, h, 1, 1)
    initial = direct.new_zeros(plan.sequences, *direct[:, 0].shape)
    if dlast is not None:
        initial.copy_(dlast)  # an empty sequence hands its gradient straight on
    leaving = torch.zeros_like(direct)
    after: Tensor | None = None
    for i in range(n - 1, -1, -1):
        if i in plan.last:
            after = None if dlast is None else dlast[plan.last[i]]
        if after is not None:
            leaving[:, i] = after
        after = direct[:, i] if after is None else torch.addcmul(direct[:, i], whole[:, i], after)
        if i in plan.first:
            initial[plan.first[i]] = after
    return leaving.flatten(0, 1), initial


def _core_backward(
    chunks: _Chunks, plan: _Plan, dy: Tensor, dlast: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Gradients of x, dt, A, B, C in chunk form, and of the initial states."""
    q, n, c, h, p = chunks.x.shape
    decays = _decays(chunks)
    states, _ = _entering_states(chunks, decays, plan)
    x, dt = chunks.x.flatten(0, 1), chunks.dt.flatten(0, 1)
    B, C = chunks.B.flatten(0, 1), chunks.C.flatten(0, 1)
    dy = dy.flatten(0, 1)
    dx, dB, dC = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, B, C))
    ddt, dlog = torch.empty_like(dt), torch.empty_like(decays.log)

    weighted = (dy * decays.in_[..., None]).flatten(2)  # (F, c, h P)
    direct = torch.bmm(weighted.transpose(1, 2), C).view_as(states)
    leaving, dh0 = _entering_gradients(chunks, decays, plan, direct, dlast)
    dwhole = (leaving * states).sum((-1, -2)) * decays.whole  # (F, h)

    for s in _pieces(x.shape[0], c * c * h):
        between = _between(decays.log[s], x.dtype)
        CB = torch.bmm(C[s], B[s].transpose(1, 2))
        inputs = (x[s] * dt[s][..., None]).transpose(1, 2)  # (f, h, c, P)
        dy_s = dy[s].transpose(1, 2)
        # inside the chunk
        dmixing = torch.matmul(dy_s, inputs.transpose(-1, -2)).mul_(between)
        dCB = dmixing.sum(1)
        mixing = between.mul_(CB[:, None])
        dinputs = torch.matmul(mixing.transpose(-1, -2), dy_s).transpose(1, 2)  # (f, c, h, P)
        flow = dmixing.mul_(CB[:, None])
        wide = decays.log.dtype
        dlog_s = flow.sum(-1, dtype=wide).sub_(flow.sum(-2, dtype=wide)).transpose(1, 2)
        # through the entering and leaving states
        flat_states, flat_leaving = states[s].flatten(1, 2), leaving[s].flatten(1, 2)
        carried = torch.bmm(C[s], flat_states.transpose(1, 2))
        dlog_s = dlog_s + (carried * weighted[s]).unflatten(2, (h, p)).sum(-1)
        out = torch.bmm(B[s], flat_leaving.transpose(1, 2)).unflatten(2, (h, p))
        out = out * decays.out[s][..., None]
        dinputs = dinputs + out
        kept = (out * inputs.transpose(1, 2)).sum(-1)
        dlog_s = dlog_s - kept
        dlog_s[:, -1] += kept.sum(1) + dwhole[s]
        dlog[s] = dlog_s
        given = (x[s] * (dt[s] * decays.out[s])[..., None]).flatten(2)
        dC[s] = torch.bmm(dCB, B[s]).baddbmm_(weighted[s], flat_states)
        dB[s] = torch.bmm(dCB.transpose(1, 2), C[s]).baddbmm_(given, flat_leaving)
        torch.mul(dinputs, dt[s][..., None], out=dx[s])
        ddt[s] = (dinputs * x[s]).sum(-1)

    dstep = dlog.flip(1).cumsum(1).flip(1).view(q, n, c, h)  # of dt A
    ddt = ddt.view(q, n, c, h) + (dstep * chunks.A[:, None, None]).to(ddt.dtype)
    dA = (dstep * chunks.dt).sum((1, 2)).to(ddt.dtype)
    grads = [dx.view(q, n, c, h, p), ddt, dA, dB.view(q, n, c, -1), dC.view(q, n, c, -1)]
    return grads, dh0


class _Core(torch.autograd.Function):
    """``(x, dt, A, B, C, h0)`` in chunk form -> outputs in chunk form, last states."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        dt: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        h0: Tensor | None,
        plan: _Plan,
        compute: bool,
    ) -> tuple[Tensor, Tensor]:
        chunks = _Chunks(x, dt, A, B, C, h0)
        ctx.save_for_backward(x, dt, A, B, C, h0)
        ctx.plan = plan
        ctx.set_materialize_grads(False)
        if not compute:  # backward of a call whose outputs are known not to matter
            last = (plan.sequences, x.shape[0], *x.shape[3:], B.shape[-1])
            return x.new_zeros(()).expand(x.shape), x.new_zeros(()).expand(last)
        decays = _decays(chunks)
        states, last_states = _entering_states(chunks, decays, plan)
        return _outputs(chunks, decays, states), last_states

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, dlast: Tensor | None) -> Any:
        x, dt, A, B, C, h0 = ctx.saved_tensors
        dy = torch.zeros_like(x) if dy is None else dy
        grads, dh0 = _core_backward(_Chunks(x, dt, A, B, C, h0), ctx.plan, dy, dlast)
        return (*grads, None if h0 is None else dh0, None, None)


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
            seq_idx, (x, dt, A, B, C, D, z, dt_bias, initial_states),
            chunk_size, dt_softplus, dt_min, dt_max, compute,
        )  # fmt: skip
    (batch, length), (heads, p) = (x.shape[0], x.shape[-3]), x.shape[-2:]
    paths = 1 if order is None else order.shape[-2]
    plan = _plan(cu_seqlens, length, order)
    chunks = _prepare(
        x, dt, A, B, C, dt_bias, initial_states, dt_softplus, (dt_min, dt_max), order, plan
    )
    y, last = _Core.apply(
        chunks.x, chunks.dt, chunks.A, chunks.B, chunks.C, chunks.h0, plan, compute
    )
    y = write(plan.join(y).reshape(length, batch, paths, heads, p), order).movedim(0, 2)
    y = _epilogue(y, x, D, z, order).to(x.dtype)
    last = last.reshape(batch * plan.sequences, paths, heads, p, B.shape[-1])
    return (y.squeeze(1), last.squeeze(1)) if order is None else (y, last)


def _scan_segments(
    seq_idx: Tensor, tensors: tuple[Tensor | None, ...], *options: Any
) -> tuple[Tensor, Tensor]:
    """All rows one after another as one packed row."""
    x, dt, A, B, C, D, z, dt_bias, initial = tensors
    segments = segments_of(seq_idx)

    def merged(t: Any) -> Any:
        return None if t is None else t.reshape(1, -1, *t.shape[2:])

    if initial is not None:
        count = segments.cu_seqlens.shape[0] - 1
        initial = initial.new_zeros(count, *initial.shape[1:]).index_put((segments.first,), initial)
    *numbers, compute = options
    assert x is not None and A is not None
    out, last = _scan(
        merged(x), merged(dt), A, merged(B), merged(C), D, merged(z), dt_bias, initial,
        *numbers, None, None, segments.cu_seqlens, compute,
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

    def again(*inputs: Any) -> tuple[Tensor, Tensor]:
        return _scan(*inputs, compute=gated)

    return recompute(again, dout, dlast, needs, args)
