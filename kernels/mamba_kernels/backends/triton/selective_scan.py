"""Selective scan: one forward and one backward kernel, each in one launch for all paths.

B and C are copied to float32 with the states contiguous: they are small beside u, and converting
them in every block of channels would cost more than the copy. Nothing else is copied: u, delta, z
and the gradients are read and written where they lie, in any strides and any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mamba_kernels.backends.triton.kernels.scan_backward import scan_backward
from mamba_kernels.backends.triton.kernels.scan_forward import scan_forward
from mamba_kernels.backends.triton.launch import (
    check_on_cpu,
    fast,
    on_device,
    power_of_two,
    strides,
    tiled,
    zero,
)

EVERY = 64  # steps between two states that are kept for backward
STEPS = 8  # steps in one round of forward
STEPS_BACKWARD = 4  # as many states as fit in registers
BLOCK = 32  # channels of a program
SCRATCH = 1 << 26  # bytes of states between those kept; backward runs as many programs as fit


class _Sizes(NamedTuple):
    batch: int
    rows: int  # batch items, or packed sequences
    paths: int
    groups: int
    width: int  # channels of a group
    n: int
    length: int

    def kept(self, packed: bool) -> int:
        """How many states are kept for backward, of each channel."""
        if packed:
            return self.length // EVERY + self.rows
        return self.batch * ((self.length + EVERY - 1) // EVERY)


def _sizes(
    u: Tensor, A: Tensor, B: Tensor, C: Tensor, order: Tensor | None, cu_seqlens: Tensor | None
) -> _Sizes:
    grouped = 4 if order is None else 5
    groups = max(x.shape[-3] if x.dim() == grouped else 1 for x in (B, C))
    rows = u.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    paths = 1 if order is None else order.shape[-2]
    channels, n = A.shape[-2:]
    return _Sizes(u.shape[0], rows, paths, groups, channels // groups, n, u.shape[-1])


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
    sizes = _sizes(u, A, B, C, order, cu_seqlens)
    count = sizes.kept(cu_seqlens is not None) * sizes.paths * A.shape[-2] * A.shape[-1]
    return u.new_empty(count, dtype=torch.float32)


def _by_state(x: Tensor, order: Tensor | None) -> Tensor:
    """B or C as float32, ``(batch, paths, groups, length, N)`` contiguous."""
    if order is None:
        x = x.unsqueeze(1)
    if x.dim() == 4:
        x = x.unsqueeze(2)
    return x.transpose(-1, -2).to(torch.float32).contiguous()


def _token_strides(x: Tensor | None) -> tuple[int, ...]:
    return strides(x, 4, paths=True)


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
    sizes = _sizes(u, A, B, C, order, cu_seqlens)
    check_on_cpu(order, cu_seqlens, sizes.length)
    per_path = () if order is None else (sizes.paths,)
    out = u.new_empty(delta.shape)
    last = u.new_empty((sizes.rows, *per_path, *A.shape[-2:]), dtype=torch.float32)
    saved = u.new_empty(0)
    if keep:
        saved = keeps(
            u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
        )
    if sizes.length == 0 or last.numel() == 0:
        last.zero_() if initial_state is None else last.copy_(initial_state)
        return out, last, saved
    part = power_of_two(sizes.n)
    tiles = part if part <= 4 else max(4, min(8, part // 4))
    block = max(1, min(BLOCK, BLOCK * tiles * 4 // part))
    steps = STEPS if part <= 16 else STEPS_BACKWARD
    plain = order is None and cu_seqlens is None
    blocks = sizes.groups * -(-sizes.width // block)
    b, c = _by_state(B, order), _by_state(C, order)
    scan_forward[(sizes.rows * sizes.paths * blocks,)](
        u, delta, A, b, c, D, z, delta_bias, initial_state, order, cu_seqlens,
        out, last, saved if keep else None,
        _token_strides(u), _token_strides(delta), strides(A, 3, paths=False),
        strides(D, 2, paths=False), _token_strides(z), strides(delta_bias, 2, paths=False),
        _token_strides(initial_state), strides(order, 3, paths=False), _token_strides(out),
        sizes.length, sizes.paths, sizes.groups, sizes.width, b.shape[2], c.shape[2],
        N=sizes.n, TILES=tiles, PART=part // tiles, BLOCK=block, STEPS=steps, EVERY=EVERY,
        SOFTPLUS=delta_softplus, FAST=fast(),
        RAGGED=cu_seqlens is not None or sizes.length % steps > 0,
        TILED=tuple(tiled(x, sizes.length, plain=plain) for x in (u, delta, z, out)),
        num_warps=1,
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
    sizes = _sizes(u, A, B, C, order, cu_seqlens)
    batch, rows, paths, groups, width, n, length = sizes
    channels = groups * width
    if length == 0 or saved.numel() == 0:  # no step depends on anything
        return [None] * 8 + [dlast if initial_state is not None else None]

    def per_row(like: Tensor | None, *rest: int) -> Tensor | None:
        if like is None:
            return None
        return u.new_empty((rows, paths, channels, *rest), dtype=torch.float32)

    def per_token(like: Tensor | None) -> Tensor | None:
        """Where paths share an input, its gradients per path are kept exact until their sum."""
        if like is None:
            return None
        shared = like.dim() == 3 and paths > 1
        dtype = torch.float32 if shared else like.dtype
        return u.new_empty((batch, paths, channels, length), dtype=dtype)

    part = power_of_two(n)
    blocks = groups * -(-width // BLOCK)
    scratch_size = EVERY // STEPS_BACKWARD * BLOCK * part
    items = rows * paths * blocks
    programs = min(items, max(1, SCRATCH // (4 * scratch_size)))
    b, c = _by_state(B, order), _by_state(C, order)
    du, ddelta, dz = per_token(u), per_token(delta), per_token(z)
    dA, dD, dbias = per_row(A, n), per_row(D), per_row(delta_bias)
    dinitial = per_row(initial_state, n)
    dB, dC = (
        u.new_empty((groups, blocks // groups, batch, paths, length, n), dtype=torch.float32)
        for _ in range(2)
    )
    dy = zero(delta.shape, u) if dout is None else dout
    plain = order is None and cu_seqlens is None
    wide = (dy, u, delta, z, du, ddelta, dz)
    scan_backward[(programs,)](
        dy, dlast, u, delta, A, b, c, D, z, delta_bias, order, cu_seqlens, saved,
        u.new_empty(programs * scratch_size, dtype=torch.float32),
        du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial,
        _token_strides(dy), _token_strides(dlast), _token_strides(u), _token_strides(delta),
        strides(A, 3, paths=False), strides(D, 2, paths=False), _token_strides(z),
        strides(delta_bias, 2, paths=False), strides(order, 3, paths=False),
        _token_strides(du), _token_strides(ddelta), _token_strides(dz),
        length, batch, paths, groups, width, b.shape[2], c.shape[2], items,
        N=n, PART=part, BLOCK=BLOCK, STEPS=STEPS_BACKWARD, EVERY=EVERY,
        SOFTPLUS=delta_softplus, FAST=fast(),
        RAGGED=cu_seqlens is not None or length % STEPS_BACKWARD > 0,
        TILED=tuple(tiled(x, length, plain=plain) for x in wide),
        num_warps=max(1, min(32, part // 8)),
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
