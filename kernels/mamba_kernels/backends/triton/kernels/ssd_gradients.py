"""SSD inside the chunks, backward: gradients of all inputs of a chunk.

The log decays get their gradients as the flow across each step t: of the pairs with one end before
t and one at or after it, of what the entering state gives to later steps, and of what earlier steps
give to the leaving state. The first is a difference of sums, so its diagonal is left out of both.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import LN2, sigmoid, silu, silu_slope
from mamba_kernels.backends.triton.kernels.ssd_chunk import (
    chunk_of_slot,
    rate,
    read_tokens,
    scalar,
    step_sizes,
    tile,
)


@triton.jit
def chunk_gradients(
    dout, x, dt, A, B, C, D, z, bias, order, cu_seqlens, entering, leaving,
    dx, ddt, dA, dB, dC, dD, dz, dbias,
    dout_at, x_at, dt_at, A_at, B_at, C_at, D_at, z_at, bias_at, order_at, dx_at, ddt_at, dz_at,
    length, rows, batches, paths, heads, per_group, low, high,
    P: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, CHUNK: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One chunk, one path and up to HEADS heads of one group; arguments as in ``chunk_outputs``.

    :param dA: ``(slots, paths, heads)``, as dbias; dD ``(slots, paths, heads, P)``.
    :param dB: ``(head blocks, batch, paths, length, groups, N)``, as dC.
    """
    blocks = tl.cdiv(per_group, HEADS)
    groups = heads // per_group
    item = tl.program_id(0)
    block = item % blocks
    group = item // blocks % groups
    path = (item // blocks // groups % paths).to(tl.int64)
    slot = item // blocks // groups // paths
    batch, start, end = chunk_of_slot(slot, cu_seqlens, length, rows, CHUNK)
    order_base = order
    if order is not None:
        order_base = order + batch * order_at[0] + path * order_at[1]
    tokens = read_tokens(order_base, start, end, order_at[2], CHUNK)
    i = tl.arange(0, CHUNK)
    live = start + i < end
    p = tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    B_base = B + batch * B_at[0] + path * B_at[1] + group.to(tl.int64) * B_at[3]
    C_base = C + batch * C_at[0] + path * C_at[1] + group.to(tl.int64) * C_at[3]
    Bs = tile(B_base, tokens, live, B_at[2], 0, N, COLUMNS, B_at[4]).to(DOT)
    Cs = tile(C_base, tokens, live, C_at[2], 0, N, COLUMNS, C_at[4]).to(DOT)
    CB = tl.dot(Cs, tl.trans(Bs), input_precision=PRECISION)
    sum_CB = tl.zeros([CHUNK, CHUNK], tl.float32)
    sum_B = tl.zeros([CHUNK, COLUMNS], tl.float32)
    sum_C = tl.zeros([CHUNK, COLUMNS], tl.float32)
    rectangle = live[:, None] & (p < P)[None, :]
    for h in range(block * HEADS, tl.minimum(block * HEADS + HEADS, per_group)):
        head = (group * per_group + h).to(tl.int64)
        a = rate(A, path, head, A_at)
        dt_base = dt + batch * dt_at[0] + path * dt_at[1] + head * dt_at[3]
        shift = scalar(bias, path, head, bias_at)
        raw, step, free = step_sizes(
            dt_base, tokens, live, dt_at[2], shift, low, high, SOFTPLUS, FAST
        )
        log = tl.cumsum(step * a, 0)
        whole = tl.sum(step * a, 0)
        past = tl.where(i[:, None] >= i[None, :], log[:, None] - log[None, :], float("-inf"))
        decay = tl.exp2(past)
        x_base = x + batch * x_at[0] + path * x_at[1] + head * x_at[3]
        xs = tile(x_base, tokens, live, x_at[2], 0, P, ROWS, x_at[4])
        dout_base = dout + batch * dout_at[0] + path * dout_at[1] + head * dout_at[3]
        dy = tile(dout_base, tokens, live, dout_at[2], 0, P, ROWS, dout_at[4])
        place = ((slot.to(tl.int64) * paths + path) * heads + head) * (P * N)
        place = place + p[:, None] * N + n[None, :]
        there = (p < P)[:, None] & (n < N)[None, :] & (start < end)
        state = tl.load(entering + place, mask=there, other=0.0).to(DOT)
        after = tl.load(leaving + place, mask=there, other=0.0).to(DOT)
        skip = tl.zeros([ROWS], tl.float32)
        if D is not None:
            D_base = D + path * D_at[0] + head * D_at[1]
            skip = tl.load(D_base + p * D_at[2], mask=p < P, other=0.0).to(tl.float32)
        if z is not None:
            z_base = z + batch * z_at[0] + path * z_at[1] + head * z_at[3]
            gate = tile(z_base, tokens, live, z_at[2], 0, P, ROWS, z_at[4])
            mixing = (CB * decay * step[None, :]).to(DOT)
            y = tl.dot(Cs, tl.trans(state), input_precision=PRECISION) * tl.exp2(log)[:, None]
            y += tl.dot(mixing, xs.to(DOT), input_precision=PRECISION) + skip[None, :] * xs
            to = dz + batch * dz_at[0] + path * dz_at[1] + head * dz_at[3]
            to = to + tokens[:, None] * dz_at[2] + p[None, :] * dz_at[4]
            tl.store(to, (dy * y * silu_slope(gate)).to(dz.dtype.element_ty), mask=rectangle)
            dy = dy * silu(gate)
        # what the entering state gives, and what the leaving state gets
        dy_in = (dy * tl.exp2(log)[:, None]).to(DOT)
        from_state = tl.dot(dy_in, state, input_precision=PRECISION)
        sum_C += from_state
        carried = tl.sum(from_state * Cs.to(tl.float32), 1)
        out = tl.exp2(whole - log)
        x_out = (xs * (step * out)[:, None]).to(DOT)
        to_state = tl.dot(x_out, after, input_precision=PRECISION)
        sum_B += to_state
        given = tl.sum(to_state * Bs.to(tl.float32), 1)
        through = tl.sum(tl.sum(state.to(tl.float32) * after.to(tl.float32), 1), 0)
        through = through * tl.exp2(whole)
        # inside the chunk
        pair = tl.dot(dy.to(DOT), tl.trans(xs.to(DOT)), input_precision=PRECISION) * decay
        flow = tl.where(i[:, None] > i[None, :], pair * CB * step[None, :], 0.0)
        sum_CB += pair * step[None, :]
        net = tl.sum(flow, 1) - tl.sum(flow, 0)
        dx_rows = tl.dot(Bs, tl.trans(after), input_precision=PRECISION) * out[:, None]
        transposed = tl.trans((CB * decay).to(DOT))
        dx_rows += tl.dot(transposed, dy.to(DOT), input_precision=PRECISION)
        later = i[:, None] >= i[None, :]
        crossing = tl.sum(tl.where(later, (net + carried)[:, None], given[:, None]), 0) + through
        dstep = tl.sum(dx_rows * xs, 1) + crossing * a * LN2
        tl.store(
            dA + (slot.to(tl.int64) * paths + path) * heads + head, tl.sum(crossing * step, 0)
        )
        dstep = tl.where(free & live, dstep, 0.0)
        if SOFTPLUS:
            dstep = dstep * sigmoid(raw)
        to = ddt + batch * ddt_at[0] + path * ddt_at[1] + head * ddt_at[3]
        tl.store(to + tokens * ddt_at[2], dstep.to(ddt.dtype.element_ty), mask=live)
        if dbias is not None:
            tl.store(dbias + (slot.to(tl.int64) * paths + path) * heads + head, tl.sum(dstep, 0))
        if dD is not None:
            to = dD + ((slot.to(tl.int64) * paths + path) * heads + head) * P
            tl.store(to + p, tl.sum(dy * xs, 0), mask=p < P)
        to = dx + batch * dx_at[0] + path * dx_at[1] + head * dx_at[3]
        to = to + tokens[:, None] * dx_at[2] + p[None, :] * dx_at[4]
        grad = dx_rows * step[:, None] + skip[None, :] * dy
        tl.store(to, grad.to(dx.dtype.element_ty), mask=rectangle)
    inner = sum_CB.to(DOT)
    sum_C += tl.dot(inner, Bs, input_precision=PRECISION)
    sum_B += tl.dot(tl.trans(inner), Cs, input_precision=PRECISION)
    to = (block.to(tl.int64) * batches + batch) * paths + path
    to = ((to * length + tokens[:, None]) * groups + group) * N + n[None, :]
    known = live[:, None] & (n < N)[None, :]
    tl.store(dB + to, sum_B, mask=known)
    tl.store(dC + to, sum_C, mask=known)
