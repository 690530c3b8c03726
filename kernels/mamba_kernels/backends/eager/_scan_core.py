"""The selective scan in blocks of time: the loops, forward and backward.

The state is kept as ``(Q, N, D)`` with the channels innermost, so that every operation runs along
contiguous memory; Q counts the independent scans (batch x paths x groups of B and C). Inside a
block the decays and inputs of all steps are made at once, then each step is one ``addcmul_``.
Backward starts from the states kept at the block borders and recomputes the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

BLOCK = 16
WORKSPACE = 1 << 19  # elements of a (BLOCK, Q, N, D) workspace that are worked on at a time


@dataclass
class Scan:
    """The call in the form the loops want: time-major, scan order, working dtype."""

    u: Tensor  # (L, Q, D)
    dt: Tensor  # (L, Q, D), after bias and softplus
    A: Tensor  # (Q, N, D)
    rate: Tensor  # A / ln 2: exp2 is four times as fast as exp
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

    def pieces(self) -> list[slice]:
        """Runs of the Q scans whose workspaces stay in cache."""
        q, n, d = self.A.shape
        step = max(1, WORKSPACE // max(BLOCK * n * d, 1))
        return [slice(i, i + step) for i in range(0, max(q, 1), step)]

    def part(self, s: slice) -> Scan:
        """Some of the Q scans, as far as the loops look at them."""

        def of(t: Tensor | None) -> Tensor | None:
            return None if t is None else t[:, s]

        u, dt, B, C = (t[:, s] for t in (self.u, self.dt, self.B, self.C))
        A, rate, h0 = self.A[s], self.rate[s], of(self.h0)
        return replace(self, u=u, dt=dt, A=A, rate=rate, B=B, C=C, D=None, z=None, h0=h0)

    def rows(self, x: Tensor) -> Tensor:
        """``(L, B, K, channels)`` -> ``(L, Q, D)``, laid out as the loops walk."""
        return x.reshape(x.shape[0], self.A.shape[0], self.A.shape[2]).contiguous()

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


def blocks(length: int) -> list[tuple[int, int]]:
    return [(s, min(s + BLOCK, length)) for s in range(0, length, BLOCK)]


def _decays_and_inputs(scan: Scan, s: int, e: int) -> tuple[Tensor, Tensor]:
    """exp(dt A) and dt u B of the steps s..e, both ``(T, Q, N, D)``."""
    dt = scan.dt[s:e]
    decay = (dt[:, :, None] * scan.rate).exp2_()
    return decay, scan.B[s:e, ..., None] * (dt * scan.u[s:e])[:, :, None]


def _run_block(
    scan: Scan, s: int, decay: Tensor, states: Tensor, h: Tensor | None, starts: dict[int, int]
) -> None:
    """Turn the inputs in ``states`` into states, in place; ``h`` is the state before step s."""
    for i, (a, b) in enumerate(zip(decay.unbind(0), states.unbind(0), strict=True)):
        if s + i in starts:
            h = None if scan.h0 is None else scan.h0[starts[s + i]]
        if h is not None:
            b.addcmul_(a, h)
        h = b


def scan_forward(scan: Scan, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs ``(L, Q, D)``, last states ``(S, Q, N, D)`` and, when ``keep``, the states before
    each block ``(blocks, Q, N, D)``."""
    parts = [_forward(scan.part(s), keep) for s in scan.pieces()]
    if len(parts) == 1:
        return parts[0]
    y, last, borders = (torch.cat(tensors, 1) for tensors in zip(*parts, strict=True))
    return y, last, borders


def _forward(scan: Scan, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    length = scan.u.shape[0]
    y = torch.empty_like(scan.u)
    last = scan.A.new_zeros(len(scan.bounds), *scan.A.shape)
    if scan.h0 is not None:
        last.copy_(scan.h0)
    borders = scan.A.new_empty(-(-length // BLOCK) if keep else 0, *scan.A.shape)
    starts, ends = scan.starts, scan.ends
    h: Tensor | None = None
    for j, (s, e) in enumerate(blocks(length)):
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
class Grads:
    """Gradients of the fields of a :class:`Scan`."""

    u: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    y: Tensor | None  # the outputs again, where the gate's gradient needs them
    h0: Tensor


def scan_backward(
    scan: Scan, dy: Tensor, dlast: Tensor | None, borders: Tensor, *, outputs: bool
) -> Grads:
    """Gradients from those of the outputs and last states; ``outputs`` makes the former again."""

    def of(t: Tensor | None, s: slice) -> Tensor | None:
        return None if t is None else t[:, s]

    parts = [
        _backward(scan.part(s), dy[:, s], of(dlast, s), borders[:, s], outputs=outputs)
        for s in scan.pieces()
    ]
    if len(parts) == 1:
        return parts[0]
    return Grads(
        u=torch.cat([p.u for p in parts], 1),
        dt=torch.cat([p.dt for p in parts], 1),
        A=torch.cat([p.A for p in parts]),
        B=torch.cat([p.B for p in parts], 1),
        C=torch.cat([p.C for p in parts], 1),
        y=torch.cat([p.y for p in parts if p.y is not None], 1) if outputs else None,
        h0=torch.cat([p.h0 for p in parts], 1),
    )


def _backward(
    scan: Scan, dy: Tensor, dlast: Tensor | None, borders: Tensor, *, outputs: bool
) -> Grads:
    """Reverse-time recurrence g_t = C_t dy_t + a_{t+1} g_{t+1}, block by block from the end."""
    new = torch.empty_like
    h0 = scan.A.new_zeros(len(scan.bounds), *scan.A.shape)
    if dlast is not None:
        h0.copy_(dlast)  # an empty sequence hands its last gradient straight on
    grads = Grads(
        new(scan.u), new(scan.dt), torch.zeros_like(scan.A), new(scan.B), new(scan.C), None, h0
    )
    if outputs:
        grads.y = new(scan.u)
    starts, ends = scan.starts, scan.ends
    after: Tensor | None = None  # a g of the step behind the block
    for j, (s, e) in reversed(list(enumerate(blocks(scan.u.shape[0])))):
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
    scan: Scan,
    grads: Grads,
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
