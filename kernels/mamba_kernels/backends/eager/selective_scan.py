"""Selective scan in blocks of time, with its own backward, linear in length.

The state is kept as ``(Q, N, D)`` with the channels innermost, so that every operation runs along
contiguous memory; Q counts the independent scans (batch x paths x groups of B and C). Inside a
block the decays and inputs of all steps are made at once, then each step is one ``addcmul_``.
Backward starts from the states kept at the block borders and recomputes the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import bounds_of, check_order, read, working_dtype, write

BLOCK = 16


@dataclass
class _Scan:
    """The call in the form the loops want: time-major, scan order, working dtype."""

    u: Tensor  # (L, Q, D)
    dt: Tensor  # (L, Q, D), after bias and softplus
    A: Tensor  # (Q, N, D)
    B: Tensor  # (L, Q, N)
    C: Tensor  # (L, Q, N)
    D: Tensor | None  # (Q, D)
    z: Tensor | None  # (L, Q, D)
    h0: Tensor | None  # (S, Q, N, D), S sequences
    bounds: list[tuple[int, int]]
    sizes: tuple[int, int, int]  # batch, paths, groups

    @property
    def starts(self) -> dict[int, int]:
        return {a: i for i, (a, b) in enumerate(self.bounds) if b > a}

    @property
    def ends(self) -> dict[int, int]:
        return {b - 1: i for i, (a, b) in enumerate(self.bounds) if b > a}

    def rows(self, x: Tensor) -> Tensor:
        """``(L, B, K, channels)`` -> ``(L, Q, D)``."""
        return x.reshape(x.shape[0], self.A.shape[0], self.A.shape[2])

    def state_in(self, h: Tensor) -> Tensor:
        """``(B or S, [K,] channels, N)`` -> ``(S, Q, N, D)``."""
        q, n, d = self.A.shape
        h = h.reshape(len(self.bounds), q, d, n)
        return h.transpose(-1, -2).to(self.A.dtype)

    def state_out(self, h: Tensor, paths: bool) -> Tensor:
        """The inverse of :meth:`state_in`."""
        (batch, k, groups), (_, n, d) = self.sizes, self.A.shape
        h = h.transpose(-1, -2).reshape(batch * len(self.bounds), k, groups * d, n)
        return h.contiguous() if paths else h[:, 0].contiguous()


def _group_count(A: Tensor, B: Tensor, C: Tensor, order: Tensor | None) -> tuple[int, int, int]:
    """Groups of the scan, of B and of C."""
    grouped = 4 if order is None else 5
    counts = [x.shape[-3] if x.dim() == grouped else 1 for x in (B, C)]
    return max(counts), counts[0], counts[1]


def _prepare(
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
) -> _Scan:
    dtype = working_dtype(u, delta, A, B, C, initial_state)
    batch, length, channels, n = u.shape[0], u.shape[-1], A.shape[-2], A.shape[-1]
    k = 1 if order is None else order.shape[-2]
    groups, b_groups, c_groups = _group_count(A, B, C, order)

    def tokens(x: Tensor) -> Tensor:
        shared = x.dim() == 3
        return read(x.movedim(-1, 0).to(dtype), order, shared=shared)

    def per_group(x: Tensor, own: int) -> Tensor:
        x = x.movedim(-1, 0).to(dtype)  # (L, B, [K,] [G,] N)
        x = (
            x.reshape(length, batch, k, own, n)
            if order is not None
            else x.reshape(length, batch, own, n)
        )
        x = read(x, order, shared=order is None)
        return x.expand(-1, -1, -1, groups, -1).reshape(length, batch * k * groups, n)

    def per_path(x: Tensor, dims: int) -> Tensor:
        """A parameter ``(channels, ...)`` or ``(K, channels, ...)`` -> ``(Q, D, ...)``."""
        rest = x.shape[x.dim() - dims :]
        x = x.to(dtype).expand(batch, k, *rest)
        return x.reshape(batch * k * groups, channels // groups, *rest[1:])

    dt = tokens(delta)
    if delta_bias is not None:
        dt = dt + delta_bias.to(dtype)
    if delta_softplus:
        dt = F.softplus(dt)
    scan = _Scan(
        u=tokens(u),
        dt=dt,
        A=per_path(A, 2).transpose(-1, -2).contiguous(),
        B=per_group(B, b_groups),
        C=per_group(C, c_groups),
        D=None if D is None else per_path(D, 1),
        z=None if z is None else tokens(z),
        h0=None,
        bounds=bounds_of(cu_seqlens, length),
        sizes=(batch, k, groups),
    )
    scan.u, scan.dt = scan.rows(scan.u), scan.rows(scan.dt)
    scan.z = None if scan.z is None else scan.rows(scan.z)
    scan.h0 = None if initial_state is None else scan.state_in(initial_state)
    return scan


def saved_shape(*args: Any) -> tuple[int, ...]:
    """States at the block borders, ``(blocks, Q, N, D)``; same arguments as :func:`forward`."""
    u, _, A, B, C, *_, order, _, keep = args
    groups = _group_count(A, B, C, order)[0]
    scans = u.shape[0] * (1 if order is None else order.shape[-2]) * groups
    blocks = -(-u.shape[-1] // BLOCK) if keep else 0
    return (blocks, scans, A.shape[-1], A.shape[-2] // groups)


def forward(
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
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in token order, last state, and (when ``keep``) the states at the block borders."""
    scan = _prepare(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    check_order(order, scan.bounds)
    y, last, borders = _scan_forward(scan, keep)
    if scan.D is not None:
        y.addcmul_(scan.D, scan.u)
    if scan.z is not None:
        y.mul_(F.silu(scan.z))
    out = _tokens_out(y, scan, order, channels=A.shape[-2], dtype=u.dtype)
    return out, scan.state_out(last, paths=order is not None), borders


def _tokens_out(
    y: Tensor, scan: _Scan, order: Tensor | None, *, channels: int, dtype: torch.dtype
) -> Tensor:
    """``(L, Q, D)`` in scan order -> ``(B, [K,] channels, L)`` in token order."""
    batch, k, _ = scan.sizes
    y = write(y.reshape(y.shape[0], batch, k, channels), order).to(dtype)
    y = y.movedim(0, -1)
    return (y if order is not None else y[:, 0]).contiguous()


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(s, min(s + BLOCK, length)) for s in range(0, length, BLOCK)]


def _decays_and_inputs(scan: _Scan, s: int, e: int) -> tuple[Tensor, Tensor]:
    """exp(dt A) and dt u B of the steps s..e, both ``(T, Q, N, D)``."""
    dt = scan.dt[s:e]
    decay = (dt[:, :, None] * scan.A).exp_()
    return decay, scan.B[s:e, ..., None] * (dt * scan.u[s:e])[:, :, None]


def _run_block(
    scan: _Scan, s: int, decay: Tensor, states: Tensor, h: Tensor | None, starts: dict[int, int]
) -> None:
    """Turn the inputs in ``states`` into states, in place; ``h`` is the state before step s."""
    for i, (a, b) in enumerate(zip(decay.unbind(0), states.unbind(0), strict=True)):
        if s + i in starts:
            h = None if scan.h0 is None else scan.h0[starts[s + i]]
        if h is not None:
            b.addcmul_(a, h)
        h = b


def _scan_forward(scan: _Scan, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    length, q, d = scan.u.shape
    y = torch.empty_like(scan.u)
    last = scan.A.new_zeros(len(scan.bounds), *scan.A.shape)
    if scan.h0 is not None:
        last.copy_(scan.h0)
    borders = scan.A.new_empty(-(-length // BLOCK) if keep else 0, *scan.A.shape)
    starts, ends = scan.starts, scan.ends
    h: Tensor | None = None
    for j, (s, e) in enumerate(_blocks(length)):
        if keep:
            borders[j] = 0 if h is None else h
        decay, states = _decays_and_inputs(scan, s, e)
        _run_block(scan, s, decay, states, h, starts)
        h = states[-1]
        torch.matmul(scan.C[s:e, :, None], states, out=y[s:e, :, None])
        for t in range(s, e):
            if t in ends:
                last[ends[t]] = states[t - s]
    return y, last, borders


@dataclass
class _Grads:
    """Gradients of the fields of a :class:`_Scan`."""

    u: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    y: Tensor | None  # the outputs again, where the gate's gradient needs them
    h0: Tensor


def _scan_backward(
    scan: _Scan, dy: Tensor, dlast: Tensor | None, borders: Tensor, *, outputs: bool
) -> _Grads:
    """Reverse-time recurrence g_t = C_t dy_t + a_{t+1} g_{t+1}, block by block from the end."""
    new = torch.empty_like
    h0 = scan.A.new_zeros(len(scan.bounds), *scan.A.shape)
    if dlast is not None:
        h0.copy_(dlast)  # an empty sequence hands its last gradient straight on
    grads = _Grads(
        new(scan.u), new(scan.dt), torch.zeros_like(scan.A), new(scan.B), new(scan.C), None, h0
    )
    if outputs:
        grads.y = new(scan.u)
    starts, ends = scan.starts, scan.ends
    after: Tensor | None = None  # a g of the step behind the block
    for j, (s, e) in reversed(list(enumerate(_blocks(scan.u.shape[0])))):
        decay, states = _decays_and_inputs(scan, s, e)
        _run_block(scan, s, decay, states, borders[j], starts)
        if grads.y is not None:
            torch.matmul(scan.C[s:e, :, None], states, out=grads.y[s:e, :, None])
        torch.matmul(states, dy[s:e, ..., None], out=grads.C[s:e, ..., None])
        g = scan.C[s:e, ..., None] * dy[s:e, :, None]
        for i in range(e - s - 1, -1, -1):
            if s + i in ends:
                if dlast is not None:
                    g[i] += dlast[ends[s + i]]
            elif i < e - s - 1:
                g[i].addcmul_(decay[i + 1], g[i + 1])
            elif after is not None:
                g[i] += after
        after = _block_gradients(scan, grads, s, e, decay, states, g, borders[j], starts)
    return grads


def _block_gradients(
    scan: _Scan,
    grads: _Grads,
    s: int,
    e: int,
    decay: Tensor,
    states: Tensor,
    g: Tensor,
    border: Tensor,
    starts: dict[int, int],
) -> Tensor:
    """Gradients of one block from those of its states; overwrites ``decay`` and ``states``."""
    dt, u = scan.dt[s:e], scan.u[s:e]
    dinput = torch.matmul(scan.B[s:e, :, None], g).squeeze(-2)
    torch.matmul(g, (dt * u)[..., None], out=grads.B[s:e, ..., None])
    decay.mul_(g)
    after = decay[0].clone()
    for i in range(e - s - 1, -1, -1):  # times the state before each step
        if s + i in starts:
            sequence = starts[s + i]
            grads.h0[sequence] = decay[i]
            if scan.h0 is None:
                decay[i] = 0
            else:
                decay[i].mul_(scan.h0[sequence])
        else:
            decay[i].mul_(states[i - 1] if i > 0 else border)
    for i in range(e - s):
        grads.A.addcmul_(decay[i], dt[i, :, None])
    torch.sum(decay.mul_(scan.A), 2, out=grads.dt[s:e])
    grads.dt[s:e].addcmul_(dinput, u)
    torch.mul(dinput, dt, out=grads.u[s:e])
    return after


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    borders: Tensor,
    needs: Sequence[bool],
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
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs; None for those that are absent."""
    scan = _prepare(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    batch, k, groups = scan.sizes
    channels, length = A.shape[-2], u.shape[-1]
    if dout is None:
        dy = torch.zeros_like(scan.u)
    else:
        by_path = dout if order is not None else dout.unsqueeze(1)
        dy = scan.rows(read(by_path.movedim(-1, 0).to(scan.A.dtype), order, shared=False))
    gated = dy
    if scan.z is not None:
        gated = dy * F.silu(scan.z)
    dstate = None if dlast is None else scan.state_in(dlast)
    grads = _scan_backward(scan, gated, dstate, borders, outputs=scan.z is not None)

    def tokens_in(grad: Tensor, like: Tensor) -> Tensor:
        grad = write(grad.reshape(length, batch, k, channels), order).movedim(0, -1)
        return grad.sum(1) if like.dim() == 3 else grad

    def groups_in(grad: Tensor, like: Tensor, own: int) -> Tensor:
        grad = write(grad.reshape(length, batch, k, groups, grad.shape[-1]), order)
        grad = grad.sum(3) if own < groups else grad
        return grad.movedim(0, -1).reshape(like.shape)

    def parameter(grad: Tensor, like: Tensor, dims: int = 1) -> Tensor:
        grad = grad.reshape(batch, k, *like.shape[like.dim() - dims :]).sum(0)
        return grad if like.dim() > dims else grad.sum(0)

    dz = dD = dbias = dh0 = None
    if scan.z is not None and z is not None:
        assert grads.y is not None
        if scan.D is not None:
            grads.y.addcmul_(scan.D, scan.u)
        sigma = scan.z.sigmoid()
        dz = tokens_in(dy * grads.y * sigma * (1 + scan.z * (1 - sigma)), z)
    if scan.D is not None and D is not None:
        dD = parameter((gated * scan.u).sum(0), D)
        grads.u.addcmul_(scan.D, gated)
    if delta_softplus:
        grads.dt.mul_(-torch.expm1(-scan.dt))
    if delta_bias is not None:
        dbias = parameter(grads.dt.sum(0), delta_bias)
    if initial_state is not None:
        dh0 = scan.state_out(grads.h0, paths=order is not None)
    _, b_groups, c_groups = _group_count(A, B, C, order)
    return [
        tokens_in(grads.u, u),
        tokens_in(grads.dt, delta),
        parameter(grads.A.transpose(-1, -2), A, 2),
        groups_in(grads.B, B, b_groups),
        groups_in(grads.C, C, c_groups),
        dD,
        dz,
        dbias,
        dh0,
    ]
