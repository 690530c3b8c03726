"""Selective scan: one forward and one backward kernel, each in one launch for all paths.

Where a batch is too small for the GPU, time is cut into segments: ``scan_segments``.

B and C are copied to float32 with the states contiguous: they are small beside u, and converting
them in every block of channels would cost more than the copy. Nothing else is copied: u, delta, z
and the gradients are read and written where they lie, in any strides and any order.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamba_kernels.backends.triton.kernels.scan_backward import scan_backward
from mamba_kernels.backends.triton.kernels.scan_forward import scan_forward
from mamba_kernels.backends.triton.launch import (
    check_on_cpu,
    fast,
    multiprocessors,
    on_device,
    strides,
    zero,
)
from mamba_kernels.backends.triton.scan_call import EVERY, Scan, at
from mamba_kernels.backends.triton.scan_segments import between, span_of

SCRATCH = 1 << 26  # bytes of states between those kept; backward runs as many programs as fit


def _span(call: Scan, warps: int) -> int | None:
    """As ``span_of``; ``warps`` are those of all programs of one row."""
    steps = call.length if call.cu_seqlens is None else call.length // max(1, call.rows)
    return span_of(call.rows * warps, steps, multiprocessors())


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
    """What forward keeps for backward, empty: the states every EVERY steps of every sequence.

    ``(kept, K, channels, N)``, but flat: whether a dimension of its own is 1 would be asked, and
    would pin the length in export.
    """
    call = Scan(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    return _kept(call)


def _kept(call: Scan) -> Tensor:
    count = call.slots(EVERY) * call.paths * call.channels * call.n
    return call.u.new_empty(count, dtype=torch.float32)


@on_device
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
    """Outputs in token order, last state, and (when ``keep``) the states every EVERY steps."""
    call = Scan(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    check_on_cpu(order, cu_seqlens, call.length)
    per_path = () if order is None else (call.paths,)
    out = u.new_empty(delta.shape)
    last = u.new_empty((call.rows, *per_path, *A.shape[-2:]), dtype=torch.float32)
    saved = _kept(call) if keep else u.new_empty(0)
    if call.length == 0 or last.numel() == 0:
        last.zero_() if initial_state is None else last.copy_(initial_state)
        return out, last, saved
    tiling = call.forward
    b, c = call.by_state(B), call.by_state(C)
    programs = call.paths * call.blocks(tiling["BLOCK"])
    span = _span(call, programs)
    entering, leaving = (
        (initial_state, last)
        if span is None
        else (between(call, span, u, b, initial_state, last, reverse=False), None)
    )
    pieces = call.rows if span is None else call.slots(span)
    scan_forward[(pieces * programs,)](
        u, delta, A, b, c, D, z, delta_bias, entering, order, cu_seqlens,
        out, leaving, saved if keep else None,
        at(u), at(delta), strides(A, 3, paths=False), strides(D, 2, paths=False), at(z),
        strides(delta_bias, 2, paths=False), at(entering), strides(order, 3, paths=False), at(out),
        call.length, call.rows, span, call.paths, call.groups, call.width, b.shape[2], c.shape[2],
        EVERY=EVERY, SOFTPLUS=delta_softplus, FAST=fast(), RAGGED=call.ragged(tiling["STEPS"]),
        TILED=call.tiled(u, delta, z, out), **tiling,
    )  # fmt: skip
    return out, last, saved


@on_device
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
    call = Scan(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    batch, rows, paths, groups, n = call.batch, call.rows, call.paths, call.groups, call.n
    length, channels = call.length, call.channels
    if length == 0 or saved.numel() == 0:  # no step depends on anything
        return [None] * 8 + [dlast if initial_state is not None else None]
    tiling = call.backward
    blocks = call.blocks(tiling["BLOCK"])
    b, c = call.by_state(B), call.by_state(C)
    dy = zero(delta.shape, u) if dout is None else dout
    span = _span(call, paths * blocks * tiling["num_warps"])
    pieces = rows if span is None else call.slots(span)

    def partial(like: Tensor | None, count: int, *rest: int) -> Tensor | None:
        if like is None:
            return None
        return u.new_empty((count, paths, channels, *rest), dtype=torch.float32)

    def per_token(like: Tensor | None) -> Tensor | None:
        """Where paths share an input, its gradients per path are kept exact until their sum."""
        if like is None:
            return None
        shared = like.dim() == 3 and paths > 1
        dtype = torch.float32 if shared else like.dtype
        return u.new_empty((batch, paths, channels, length), dtype=dtype)

    du, ddelta, dz = per_token(u), per_token(delta), per_token(z)
    dA, dD, dbias = partial(A, pieces, n), partial(D, pieces), partial(delta_bias, pieces)
    dinitial = partial(initial_state, rows, n)
    dB, dC = (
        u.new_empty((groups, blocks // groups, batch, paths, length, n), dtype=torch.float32)
        for _ in range(2)
    )
    leaving, entering = (
        (dlast, dinitial)
        if span is None
        else (between(call, span, dy, c, dlast, dinitial, reverse=True), None)
    )
    items = pieces * paths * blocks
    scratch_size = EVERY // tiling["STEPS"] * tiling["BLOCK"] * tiling["PART"]
    programs = min(items, max(1, SCRATCH // (4 * scratch_size)))
    scan_backward[(programs,)](
        dy, leaving, u, delta, A, b, c, D, z, delta_bias, order, cu_seqlens, saved,
        u.new_empty(programs * scratch_size, dtype=torch.float32),
        du, ddelta, dA, dB, dC, dD, dz, dbias, entering,
        at(dy), at(leaving), at(u), at(delta), strides(A, 3, paths=False),
        strides(D, 2, paths=False), at(z), strides(delta_bias, 2, paths=False),
        strides(order, 3, paths=False), at(du), at(ddelta), at(dz),
        length, batch, rows, span, paths, groups, call.width, b.shape[2], c.shape[2], items,
        EVERY=EVERY, SOFTPLUS=delta_softplus, FAST=fast(), RAGGED=call.ragged(tiling["STEPS"]),
        TILED=call.tiled(dy, u, delta, z, du, ddelta, dz), **tiling,
    )  # fmt: skip

    def tokens_in(grad: Tensor | None, like: Tensor | None) -> Tensor | None:
        if grad is None or like is None:
            return None
        return grad if like.dim() == 4 else grad.sum(1) if paths > 1 else grad[:, 0]

    def parameter(grad: Tensor | None, like: Tensor | None, dims: int) -> Tensor | None:
        if grad is None or like is None:
            return None
        grad = grad.sum(0)
        return grad if like.dim() > dims else grad.sum(0)

    def states_in(grad: Tensor, like: Tensor, own: int) -> Tensor:
        grad = grad.sum(1) if own == groups else grad.sum((0, 1))[None]
        return grad.permute(1, 2, 0, 4, 3).reshape(like.shape)

    return [
        tokens_in(du, u),
        tokens_in(ddelta, delta),
        parameter(dA, A, 2),
        states_in(dB, B, b.shape[2]),
        states_in(dC, C, c.shape[2]),
        parameter(dD, D, 1),
        tokens_in(dz, z),
        parameter(dbias, delta_bias, 1),
        None if dinitial is None else dinitial if order is not None else dinitial[:, 0],
    ]
