"""The next steps of a scan or of a convolution, in place: one program per batch item and channels.

Nothing depends on values on the host, so both can be captured in a CUDA graph.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import exp, silu, softplus


@triton.jit(do_not_specialize=["steps", "rows", "channels", "inner", "B_share", "C_share"])
def state_update(
    state, x, dt, A, B, C, D, z, bias, indices, out,
    state_at, x_at, dt_at, A_at, B_at, C_at, D_at, z_at, bias_at, out_at,
    steps, rows, channels, inner, B_share, C_share,
    N: tl.constexpr, COLUMNS: tl.constexpr, BLOCK: tl.constexpr, SOFTPLUS: tl.constexpr,
    FAST: tl.constexpr,
):  # fmt: skip
    """Channels are pairs (head, place in it), ``inner`` places each; strides are (batch or row,
    head, place, state, time) without what a tensor lacks.

    :param indices: row of ``state`` of each batch item, or None. A row that is none is neither read
        nor written: on the device nobody can be told.
    :param B_share: heads that share one group of B; C_share alike.
    """
    blocks = tl.cdiv(channels, BLOCK)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    channel = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    live = channel < channels
    head = (channel // inner).to(tl.int64)
    place = (channel % inner).to(tl.int64)
    n = tl.arange(0, COLUMNS)
    there = live[:, None] & (n < N)[None, :]
    row = batch
    if indices is not None:
        row = tl.load(indices + batch).to(tl.int64)
        there = there & (row >= 0) & (row < rows)
    shift = tl.zeros([BLOCK], tl.float32)
    if bias is not None:
        at = bias + head * bias_at[0] + place * bias_at[1]
        shift = tl.load(at, mask=live, other=0.0).to(tl.float32)
    at = A + (head * A_at[0] + place * A_at[1])[:, None] + n[None, :] * A_at[2]
    a = tl.load(at, mask=there, other=0.0).to(tl.float32)
    h_at = state + row * state_at[0] + (head * state_at[1] + place * state_at[2])[:, None]
    h_at = h_at + n[None, :] * state_at[3]
    h = tl.load(h_at, mask=there, other=0.0).to(tl.float32)
    x_from = x + batch * x_at[0] + head * x_at[1] + place * x_at[2]
    dt_from = dt + batch * dt_at[0] + head * dt_at[1] + place * dt_at[2]
    B_from = B + batch * B_at[0] + (head // B_share * B_at[1])[:, None] + n[None, :] * B_at[2]
    C_from = C + batch * C_at[0] + (head // C_share * C_at[1])[:, None] + n[None, :] * C_at[2]
    to = out + batch * out_at[0] + head * out_at[1] + place * out_at[2]
    for step in range(steps):
        t = tl.cast(step, tl.int64)
        u = tl.load(x_from + t * x_at[3], mask=live, other=0.0).to(tl.float32)
        size = tl.load(dt_from + t * dt_at[3], mask=live, other=0.0).to(tl.float32) + shift
        if SOFTPLUS:
            size = softplus(size, FAST)
        b = tl.load(B_from + t * B_at[3], mask=there, other=0.0).to(tl.float32)
        c = tl.load(C_from + t * C_at[3], mask=there, other=0.0).to(tl.float32)
        h = exp(size[:, None] * a) * h + (size * u)[:, None] * b
        y = tl.sum(h * c, 1)
        if D is not None:
            skip = tl.load(D + head * D_at[0] + place * D_at[1], mask=live, other=0.0)
            y += skip.to(tl.float32) * u
        if z is not None:
            gate = z + batch * z_at[0] + head * z_at[1] + place * z_at[2] + t * z_at[3]
            y = y * silu(tl.load(gate, mask=live, other=0.0).to(tl.float32))
        tl.store(to + t * out_at[3], y.to(out.dtype.element_ty), mask=live)
    tl.store(h_at, h.to(state.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["steps", "kept", "rows", "channels"])
def convolution_update(
    x, state, weight, bias, indices, out, x_at, state_at, weight_at, bias_at, out_at,
    steps, kept, rows, channels,
    WIDTH: tl.constexpr, PLACES: tl.constexpr, SILU: tl.constexpr, BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """Outputs of ``steps`` further inputs, and the last ``kept`` inputs moved on.

    :param indices: see :func:`state_update`.
    :param PLACES: a power of two, at least ``kept``.
    """
    blocks = tl.cdiv(channels, BLOCK)
    batch = (tl.program_id(0) // blocks).to(tl.int64)
    channel = (tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)).to(tl.int64)
    live = channel < channels
    new = x + batch * x_at[0] + (channel * x_at[1])[:, None]
    row, known = batch, live
    if indices is not None:
        row = tl.load(indices + batch).to(tl.int64)
        known = live & (row >= 0) & (row < rows)
    old = state + row * state_at[0] + (channel * state_at[1])[:, None]
    shift = tl.zeros([BLOCK], tl.float32)
    if bias is not None:
        shift = tl.load(bias + channel * bias_at, mask=live, other=0.0).to(tl.float32)
    for first in range(0, steps, STEPS):
        t = (first + tl.arange(0, STEPS)).to(tl.int64)
        y = tl.zeros([BLOCK, STEPS], tl.float32) + shift[:, None]
        for i in tl.static_range(WIDTH):
            source = t - (WIDTH - 1) + i  # negative: in the state
            recent = tl.load(
                new + source[None, :] * x_at[2],
                mask=live[:, None] & ((t < steps) & (source >= 0))[None, :],
                other=0.0,
            )
            past = tl.load(
                old + (kept + source)[None, :] * state_at[2],
                mask=known[:, None] & ((t < steps) & (source < 0))[None, :],
                other=0.0,
            )
            at = weight + channel * weight_at[0] + i * weight_at[1]
            w = tl.load(at, mask=live, other=0.0).to(tl.float32)
            y += w[:, None] * (recent.to(tl.float32) + past.to(tl.float32))
        if SILU:
            y = silu(y)
        to = out + batch * out_at[0] + (channel * out_at[1])[:, None] + t[None, :] * out_at[2]
        tl.store(to, y.to(out.dtype.element_ty), mask=live[:, None] & (t < steps)[None, :])
    j = tl.arange(0, PLACES)
    there = known[:, None] & (j < kept)[None, :]
    source = j.to(tl.int64) + steps - kept
    recent = tl.load(
        new + source[None, :] * x_at[2], mask=there & (source >= 0)[None, :], other=0.0
    )
    past = tl.load(
        old + (j + steps)[None, :] * state_at[2], mask=there & (source < 0)[None, :], other=0.0
    )
    value = tl.where((source >= 0)[None, :], recent.to(tl.float32), past.to(tl.float32))
    tl.debug_barrier()  # all threads have read what others now overwrite
    tl.store(old + j[None, :] * state_at[2], value.to(state.dtype.element_ty), mask=there)
