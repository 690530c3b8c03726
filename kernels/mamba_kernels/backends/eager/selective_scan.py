"""Selective scan in blocks of time, with its own backward, linear in length.

Here the call is brought into the form of the loops in ``_scan_core`` and back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.eager._scan_core import BLOCK, Scan, blocks, scan_backward, scan_forward
from mamba_kernels.backends.layout import (
    bounds_of,
    check_order,
    read,
    time_first,
    time_last,
    working_dtype,
    write,
)


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
) -> Scan:
    dtype = working_dtype(u, delta, A, B, C, initial_state)
    batch, length, channels, n = u.shape[0], u.shape[-1], A.shape[-2], A.shape[-1]
    k = 1 if order is None else order.shape[-2]
    groups, b_groups, c_groups = _group_count(A, B, C, order)

    def tokens(x: Tensor) -> Tensor:
        return read(time_first(x.to(dtype)), order, shared=x.dim() == 3)

    def per_group(x: Tensor, own: int) -> Tensor:
        x = time_first(x.to(dtype))  # (L, B, [K,] [G,] N)
        x = (
            x.reshape(length, batch, k, own, n)
            if order is not None
            else x.reshape(length, batch, own, n)
        )
        x = read(x, order, shared=order is None)
        return x.expand(-1, -1, -1, groups, -1).reshape(length, batch * k * groups, n).contiguous()

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
    decay = per_path(A, 2).transpose(-1, -2).contiguous()
    scan = Scan(
        u=tokens(u),
        dt=dt,
        A=decay,
        rate=decay / math.log(2),
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


def keeps(
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
) -> Tensor:
    """What forward keeps for backward, empty: the states at the block borders.

    Flat: whether a dimension of its own is 1 would be asked, and would pin the length in export.
    """
    paths = 1 if order is None else order.shape[-2]
    count = (u.shape[-1] + BLOCK - 1) // BLOCK
    size = count * u.shape[0] * paths * A.shape[-1] * A.shape[-2]
    return u.new_empty(size, dtype=working_dtype(u, delta, A, B, C, initial_state))


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
    check_order(order, bounds_of(cu_seqlens, u.shape[-1]))
    scan = _prepare(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    y, last, borders = scan_forward(scan, keep)
    if scan.D is not None:
        y.addcmul_(scan.D, scan.u)
    if scan.z is not None:
        y.mul_(F.silu(scan.z))
    out = _tokens_out(y, scan, order, channels=A.shape[-2], dtype=u.dtype)
    saved = borders.flatten() if keep else u.new_empty(0)
    return out, scan.state_out(last, paths=order is not None), saved


def _tokens_out(
    y: Tensor, scan: Scan, order: Tensor | None, *, channels: int, dtype: torch.dtype
) -> Tensor:
    """``(L, Q, D)`` in scan order -> ``(B, [K,] channels, L)`` in token order."""
    batch, k, _ = scan.sizes
    y = time_last(write(y.reshape(y.shape[0], batch, k, channels), order).to(dtype))
    return y if order is not None else y.squeeze(1)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
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
        dy = scan.rows(read(time_first(by_path.to(scan.A.dtype)), order, shared=False))
    gated = dy
    if scan.z is not None:
        gated = dy * F.silu(scan.z)
    dstate = None if dlast is None else scan.state_in(dlast)
    borders = saved.view(len(blocks(length)), *scan.A.shape)
    grads = scan_backward(scan, gated, dstate, borders, outputs=scan.z is not None)

    def tokens_in(grad: Tensor, like: Tensor) -> Tensor:
        grad = write(grad.reshape(length, batch, k, channels), order)
        return time_last(grad.sum(2) if like.dim() == 3 else grad)

    def groups_in(grad: Tensor, like: Tensor, own: int) -> Tensor:
        grad = write(grad.reshape(length, batch, k, groups, grad.shape[-1]), order)
        grad = grad.sum(3) if own < groups else grad
        return time_last(grad).reshape(like.shape)

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
