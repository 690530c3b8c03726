"""Selective scan, backward: states recomputed from the kept ones, then the recurrence reversed.

The states of ``EVERY`` steps do not fit in registers. A first pass over them writes the state of
every ``STEPS``-th to a scratch of its program, which stays in the L2 cache; from there the states
of STEPS steps are made again, in registers, last ones first. The recurrence is never inverted.

Sums over channels (of B and C) are written per block of channels, sums over time and rows (of A, D
and bias) per row; the host adds them, always in the same order.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import (
    LN2,
    sigmoid,
    silu,
    silu_slope,
)
from mamba_kernels.backends.triton.kernels.scan_place import by_channel, place, rates, states
from mamba_kernels.backends.triton.kernels.steps import (
    load_steps,
    step_size,
    store_steps,
    tokens_of,
)


@triton.jit(
    do_not_specialize=[
        "batches", "rows", "paths", "groups", "width", "B_groups", "C_groups", "items",
    ]
)  # fmt: skip
def scan_backward(
    dout, dlast, u, delta, A, B, C, D, z, bias, order, cu_seqlens, kept, scratch,
    du, ddelta, dA, dB, dC, dD, dz, dbias, dinitial,
    dout_at, dlast_at, u_at, delta_at, A_at, D_at, z_at, bias_at, order_at, du_at, ddelta_at, dz_at,
    length, batches, rows, span, paths, groups, width, B_groups, C_groups, items,
    N: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr,
    EVERY: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr, RAGGED: tl.constexpr,
    TILED: tl.constexpr,
):  # fmt: skip
    """Gradients of all inputs; arguments as in ``scan_forward``, rows may be segments as there.

    :param scratch: float32, ``EVERY / STEPS * BLOCK * PART`` for each program.
    :param dA: ``(rows, paths, channels, N)``; dinitial alike, dD and dbias without N.
    :param dB: ``(blocks, batch, paths, length, N)``, as dC.
    :param items: parts of the work; program p takes p, p + programs, ...
    :param PART: a power of two, at least N: here the states share one tile, because the sums over
        channels cost more than those over states.
    :param TILED: for each of dout, u, delta, z, du, ddelta, dz.
    """
    n = tl.arange(0, PART)
    tile = tl.arange(0, BLOCK)[:, None] * PART + n[None, :]
    scratch += tl.program_id(0).to(tl.int64) * (EVERY // STEPS * BLOCK * PART)
    total = groups * width
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        row, batch, path, group, block, channels, live, first, end, slot = place(
            item, cu_seqlens, length, rows, span, paths, groups, width, BLOCK, EVERY
        )
        there = live[:, None] & (n < N)[None, :]
        dout_base = dout + batch * dout_at[0] + path * dout_at[1] + channels * dout_at[2]
        u_base = u + batch * u_at[0] + path * u_at[1] + channels * u_at[2]
        delta_base = delta + batch * delta_at[0] + path * delta_at[1] + channels * delta_at[2]
        du_base = du + batch * du_at[0] + path * du_at[1] + channels * du_at[2]
        ddelta_base = ddelta + batch * ddelta_at[0] + path * ddelta_at[1] + channels * ddelta_at[2]
        lane = batch * paths + path
        B_base = B + (lane * B_groups + tl.minimum(group, B_groups - 1)) * length * N + n
        C_base = C + (lane * C_groups + tl.minimum(group, C_groups - 1)) * length * N + n
        partial = (block * batches * paths + lane) * length * N + n
        # unlike `channels` these run on behind the last one (nothing is read there): offsets from
        # one place need no registers
        origin = group * width + block % tl.cdiv(width, BLOCK) * BLOCK
        kept_base = kept + ((slot * paths + path) * total + origin) * N
        inside = tl.arange(0, BLOCK)[:, None] * N + n[None, :]
        order_base = order
        if order is not None:
            order_base = order + batch * order_at[0] + path * order_at[1]
        if z is not None:
            z_base = z + batch * z_at[0] + path * z_at[1] + channels * z_at[2]
            dz_base = dz + batch * dz_at[0] + path * dz_at[1] + channels * dz_at[2]
        skip = by_channel(D, path, channels, D_at, BLOCK)
        shift = by_channel(bias, path, channels, bias_at, BLOCK)
        rate = rates(A, path, channels, n, there, A_at)
        g = tl.zeros([BLOCK, PART], tl.float32)
        if dlast is not None:
            g = states(dlast, row, path, channels, n, there, dlast_at)
        sum_A = tl.zeros([BLOCK, PART], tl.float32)
        sum_D = tl.zeros([BLOCK], tl.float32)
        sum_bias = tl.zeros([BLOCK], tl.float32)

        chunks = tl.cdiv(end - first, EVERY)
        for behind in range(chunks):
            chunk = chunks - 1 - behind
            start = first + chunk * EVERY
            parts = tl.cdiv(tl.minimum(end - start, EVERY), STEPS)
            at = kept_base + chunk.to(tl.int64) * paths * total * N + inside
            h = tl.load(at, mask=there, other=0.0)
            for part in range(parts):
                tl.store(scratch + part * (BLOCK * PART) + tile, h)
                t = start + part * STEPS
                tokens = tokens_of(order_base, t, end, order_at[2], STEPS)
                us = load_steps(u_base, tokens, t, end, u_at[3], BLOCK, STEPS, TILED[1])
                deltas = load_steps(delta_base, tokens, t, end, delta_at[3], BLOCK, STEPS, TILED[2])
                for j in tl.static_range(STEPS):
                    dt = step_size(deltas[j], shift, t + j >= end, SOFTPLUS, RAGGED, FAST)
                    b = tl.load(B_base + tokens[j] * N, mask=n < N, other=0.0)
                    inflow = (dt * us[j].to(tl.float32))[:, None] * b[None, :]
                    h = tl.exp2(dt[:, None] * rate) * h + inflow
            tl.debug_barrier()

            for later in range(parts):
                part = parts - 1 - later
                t = start + part * STEPS
                tokens = tokens_of(order_base, t, end, order_at[2], STEPS)
                us = load_steps(u_base, tokens, t, end, u_at[3], BLOCK, STEPS, TILED[1])
                deltas = load_steps(delta_base, tokens, t, end, delta_at[3], BLOCK, STEPS, TILED[2])
                douts = load_steps(dout_base, tokens, t, end, dout_at[3], BLOCK, STEPS, TILED[0])
                if z is not None:
                    zs = load_steps(z_base, tokens, t, end, z_at[3], BLOCK, STEPS, TILED[3])
                s = tl.load(scratch + part * (BLOCK * PART) + tile)
                history = (s,)
                decays = ()
                dts = ()
                for j in tl.static_range(STEPS):
                    dt = step_size(deltas[j], shift, t + j >= end, SOFTPLUS, RAGGED, FAST)
                    b = tl.load(B_base + tokens[j] * N, mask=n < N, other=0.0)
                    decay = tl.exp2(dt[:, None] * rate)
                    inflow = (dt * us[j].to(tl.float32))[:, None] * b[None, :]
                    history = history + (decay * history[j] + inflow,)
                    decays = decays + (decay,)
                    dts = dts + (dt,)
                dus = ()
                ddeltas = ()
                dzs = ()
                for j in tl.static_range(STEPS - 1, -1, -1):
                    b = tl.load(B_base + tokens[j] * N, mask=n < N, other=0.0)
                    c = tl.load(C_base + tokens[j] * N, mask=n < N, other=0.0)
                    x = us[j].to(tl.float32)
                    dy = tl.where(live & (t + j < end), douts[j].to(tl.float32), 0.0)
                    if z is not None:
                        gate = zs[j].to(tl.float32)
                        y = tl.sum(history[j + 1] * c[None, :], 1) + skip * x
                        dzs = (dy * y * silu_slope(gate),) + dzs
                        dy = dy * silu(gate)
                    g += dy[:, None] * c[None, :]
                    to = partial + tokens[j] * N
                    stored = (n < N) & (t + j < end)
                    tl.store(dC + to, tl.sum(history[j + 1] * dy[:, None], 0), mask=stored)
                    tl.store(dB + to, tl.sum(g * (dts[j] * x)[:, None], 0), mask=stored)
                    inward = tl.sum(g * b[None, :], 1)
                    g = g * decays[j]
                    flow = g * history[j]
                    sum_A += flow * dts[j][:, None]
                    ddt = tl.sum(flow * rate, 1) * LN2 + inward * x
                    if SOFTPLUS:
                        ddt = ddt * sigmoid(deltas[j].to(tl.float32) + shift)
                    if RAGGED:
                        ddt = tl.where(t + j < end, ddt, 0.0)
                    sum_bias += ddt
                    sum_D += dy * x
                    dus = (inward * dts[j] + skip * dy,) + dus
                    ddeltas = (ddt,) + ddeltas
                store_steps(du_base, dus, tokens, t, end, du_at[3], live, BLOCK, STEPS, TILED[4])
                store_steps(
                    ddelta_base, ddeltas, tokens, t, end, ddelta_at[3], live,
                    BLOCK, STEPS, TILED[5],
                )  # fmt: skip
                if z is not None:
                    store_steps(
                        dz_base, dzs, tokens, t, end, dz_at[3], live, BLOCK, STEPS, TILED[6]
                    )
            tl.debug_barrier()

        at = (row * paths + path) * total + channels
        at_states = at[:, None] * N + n[None, :]
        tl.store(dA + at_states, sum_A, mask=there)
        if dinitial is not None:
            tl.store(dinitial + at_states, g, mask=there)
        if dD is not None:
            tl.store(dD + at, sum_D, mask=live)
        if dbias is not None:
            tl.store(dbias + at, sum_bias, mask=live)
