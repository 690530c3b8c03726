"""The matmuls of SSD on chunks of time, forward and backward.

``C B^T`` is computed once for all heads that share B and C. Decays between two steps are exponents
of masked differences; their sums and differences are made in double precision, where the device
has it, because the gradient of A is a difference of large sums.

Letters: Q independent scans (batch x paths x groups), n chunks of each, F all chunks together,
c steps of a chunk, h heads of a group, P, N.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mamba_kernels.backends.eager._ssd_plan import Chunks, Plan

WORKSPACE = 1 << 20  # elements of a (heads, c, c) workspace that are worked on at a time


def _double(t: Tensor) -> Tensor:
    return t if t.device.type == "mps" else t.double()


@dataclass
class _Decays:
    """Log decays of the chunks, and what follows from them."""

    log2: Tensor  # (F, c, h), from the chunk's start to after each step, double
    in_: Tensor  # (F, c, h), exp2(log2)
    out: Tensor  # (F, c, h), from after each step to the chunk's end
    whole: Tensor  # (F, h)


def _decays(chunks: Chunks) -> _Decays:
    rate = _double(chunks.A) / math.log(2)  # exp2 is several times as fast as exp
    log2 = torch.cumsum(_double(chunks.dt) * rate[:, None, None], 2).flatten(0, 1)
    end = log2[:, -1:]
    in_, out, whole = (t.exp2().to(chunks.x.dtype) for t in (log2, end - log2, end[:, 0]))
    return _Decays(log2, in_, out, whole)


def _entering_states(chunks: Chunks, decays: _Decays, plan: Plan) -> tuple[Tensor, Tensor]:
    """States before each chunk ``(F, h, P, N)`` and at the end of each sequence (S, Q, h, P, N)."""
    q, n, _, h, p = chunks.x.shape
    weight = (chunks.dt.flatten(0, 1) * decays.out)[..., None]
    x = (chunks.x.flatten(0, 1) * weight).flatten(2)  # (F, c, h P)
    states = torch.bmm(x.transpose(1, 2), chunks.B.flatten(0, 1))
    states = states.view(q, n, h, p, chunks.B.shape[-1])
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


def _between(log2: Tensor, dtype: torch.dtype) -> Tensor:
    """Decays from after step j to after step i, ``(f, h, c, c)``; zero where i < j."""
    log2 = log2.transpose(1, 2)
    c = log2.shape[-1]
    future = torch.ones(c, c, dtype=torch.bool, device=log2.device).triu_(1)
    difference = (log2[..., :, None] - log2[..., None, :]).to(dtype)
    # masked before exp: differences of the future are positive and would overflow
    return difference.masked_fill_(future, float("-inf")).exp2_()


def _outputs(chunks: Chunks, decays: _Decays, states: Tensor) -> Tensor:
    """y without skip and gate, ``(Q, n, c, h, P)``."""
    y = torch.empty_like(chunks.x, memory_format=torch.contiguous_format)
    out, x, dt = y.flatten(0, 1), chunks.x.flatten(0, 1), chunks.dt.flatten(0, 1)
    B, C = chunks.B.flatten(0, 1), chunks.C.flatten(0, 1)
    total, c, h, p = x.shape
    for s in _pieces(total, c * c * h):
        mixing = _between(decays.log2[s], x.dtype)
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
    chunks: Chunks, decays: _Decays, plan: Plan, direct: Tensor, dlast: Tensor | None
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
    chunks: Chunks, plan: Plan, dy: Tensor, dlast: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """Gradients of x, dt, A, B, C in chunk form, and of the initial states."""
    q, n, c, h, p = chunks.x.shape
    decays = _decays(chunks)
    states, _ = _entering_states(chunks, decays, plan)
    x, dt = chunks.x.flatten(0, 1), chunks.dt.flatten(0, 1)
    B, C = chunks.B.flatten(0, 1), chunks.C.flatten(0, 1)
    dy = dy.flatten(0, 1)
    dx, dB, dC = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, B, C))
    ddt, dlog = torch.empty_like(dt), torch.empty_like(decays.log2)

    weighted = (dy * decays.in_[..., None]).flatten(2)  # (F, c, h P)
    direct = torch.bmm(weighted.transpose(1, 2), C).view_as(states)
    leaving, dh0 = _entering_gradients(chunks, decays, plan, direct, dlast)
    dwhole = (leaving * states).sum((-1, -2)) * decays.whole  # (F, h)

    for s in _pieces(x.shape[0], c * c * h):
        between = _between(decays.log2[s], x.dtype)
        CB = torch.bmm(C[s], B[s].transpose(1, 2))
        inputs = (x[s] * dt[s][..., None]).transpose(1, 2)  # (f, h, c, P)
        dy_s = dy[s].transpose(1, 2)
        # inside the chunk
        dmixing = torch.matmul(dy_s, inputs.transpose(-1, -2)).mul_(between)
        dCB = dmixing.sum(1)
        mixing = between.mul_(CB[:, None])
        dinputs = torch.matmul(mixing.transpose(-1, -2), dy_s).transpose(1, 2)  # (f, c, h, P)
        flow = dmixing.mul_(CB[:, None])
        wide = decays.log2.dtype
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
    grads = [dx.view_as(chunks.x), ddt, dA, dB.view_as(chunks.B), dC.view_as(chunks.C)]
    return grads, dh0


class Core(torch.autograd.Function):
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
        plan: Plan,
        compute: bool,
    ) -> tuple[Tensor, Tensor]:
        chunks = Chunks(x, dt, A, B, C, h0)
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
        grads, dh0 = _core_backward(Chunks(x, dt, A, B, C, h0), ctx.plan, dy, dlast)
        return (*grads, None if h0 is None else dh0, None, None)
