"""Selective scan, forward: sequential in time, one thread per channel, the state in registers.

The N states of a channel lie in ``TILES`` tiles ``[BLOCK, PART]``. With PART at most 4 the compiler
keeps each tile inside one thread: no shuffle and no barrier in the loop over time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import silu
from mamba_kernels.backends.triton.kernels.scan_place import by_channel, place, rates, states
from mamba_kernels.backends.triton.kernels.steps import (
    load_steps,
    step_size,
    store_steps,
    tokens_of,
)


@triton.jit(do_not_specialize=["rows", "paths", "groups", "width", "B_groups", "C_groups"])
def scan_forward(
    u, delta, A, B, C, D, z, bias, initial, order, cu_seqlens, out, last, kept,
    u_at, delta_at, A_at, D_at, z_at, bias_at, initial_at, order_at, out_at,
    length, rows, span, paths, groups, width, B_groups, C_groups,
    N: tl.constexpr, TILES: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr,
    STEPS: tl.constexpr, EVERY: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr,
    RAGGED: tl.constexpr, TILED: tl.constexpr,
):  # fmt: skip
    """Outputs; last states and states every ``EVERY`` steps where ``last`` and ``kept`` are given.

    Each ``x_at`` holds the strides of x: (batch or row, path, channel, step or state), without what
    x lacks. B and C are float32, contiguous ``(batch, path, groups, length, N)``. Where time is cut
    into segments (``span``, as in ``place``) each is a row of its own: in ``initial`` and ``last``.

    :param RAGGED: whether steps may lie behind the end.
    :param TILED: for each of u, delta, z and out, whether its time is read in wide accesses.
    """
    row, batch, path, group, _, channels, live, first, end, slot = place(
        tl.program_id(0), cu_seqlens, length, rows, span, paths, groups, width, BLOCK, EVERY
    )
    total = groups * width
    u_base = u + batch * u_at[0] + path * u_at[1] + channels * u_at[2]
    delta_base = delta + batch * delta_at[0] + path * delta_at[1] + channels * delta_at[2]
    out_base = out + batch * out_at[0] + path * out_at[1] + channels * out_at[2]
    B_base = B + ((batch * paths + path) * B_groups + tl.minimum(group, B_groups - 1)) * length * N
    C_base = C + ((batch * paths + path) * C_groups + tl.minimum(group, C_groups - 1)) * length * N
    order_base = order
    if order is not None:
        order_base = order + batch * order_at[0] + path * order_at[1]
    if z is not None:
        z_base = z + batch * z_at[0] + path * z_at[1] + channels * z_at[2]
    skip = by_channel(D, path, channels, D_at, BLOCK)
    shift = by_channel(bias, path, channels, bias_at, BLOCK)
    a = ()
    h = ()
    for i in tl.static_range(TILES):
        n = i * PART + tl.arange(0, PART)
        there = live[:, None] & (n < N)[None, :]
        a = a + (rates(A, path, channels, n, there, A_at),)
        if initial is not None:
            h = h + (states(initial, row, path, channels, n, there, initial_at),)
        else:
            h = h + (tl.zeros([BLOCK, PART], tl.float32),)

    tokens = tokens_of(order_base, first, end, order_at[2], STEPS)
    us = load_steps(u_base, tokens, first, end, u_at[3], BLOCK, STEPS, TILED[0])
    deltas = load_steps(delta_base, tokens, first, end, delta_at[3], BLOCK, STEPS, TILED[1])
    for step in range(0, end - first, STEPS):
        t = first + step
        if kept is not None:
            if step % EVERY == 0:
                to = kept + (slot + step // EVERY) * (paths * total * N)
                to = to + (path * total + channels[:, None]) * N
                for i in tl.static_range(TILES):
                    s = i * PART + tl.arange(0, PART)
                    tl.store(to + s[None, :], h[i], mask=live[:, None] & (s < N)[None, :])
        # the rows of the next steps are on their way while these are computed
        after = t + STEPS
        next_tokens = tokens_of(order_base, after, end, order_at[2], STEPS)
        next_us = load_steps(u_base, next_tokens, after, end, u_at[3], BLOCK, STEPS, TILED[0])
        next_deltas = load_steps(
            delta_base, next_tokens, after, end, delta_at[3], BLOCK, STEPS, TILED[1]
        )
        if z is not None:
            zs = load_steps(z_base, tokens, t, end, z_at[3], BLOCK, STEPS, TILED[2])
        ys = ()
        for j in tl.static_range(STEPS):
            x = us[j].to(tl.float32)
            dt = step_size(deltas[j], shift, t + j >= end, SOFTPLUS, RAGGED, FAST)
            y = skip * x
            dtx = dt * x
            new = ()
            for i in tl.static_range(TILES):
                state = i * PART + tl.arange(0, PART)
                b = tl.load(B_base + tokens[j] * N + state, mask=state < N, other=0.0)
                c = tl.load(C_base + tokens[j] * N + state, mask=state < N, other=0.0)
                g = tl.exp2(dt[:, None] * a[i]) * h[i] + dtx[:, None] * b[None, :]
                y += tl.sum(g * c[None, :], 1)
                new = new + (g,)
            h = new
            if z is not None:
                y = y * silu(zs[j].to(tl.float32))
            ys = ys + (y,)
        store_steps(out_base, ys, tokens, t, end, out_at[3], live, BLOCK, STEPS, TILED[3])
        tokens = next_tokens
        us = next_us
        deltas = next_deltas
    if last is not None:
        to = last + ((row * paths + path) * total + channels[:, None]) * N
        for i in tl.static_range(TILES):
            n = i * PART + tl.arange(0, PART)
            tl.store(to + n[None, :], h[i], mask=live[:, None] & (n < N)[None, :])
