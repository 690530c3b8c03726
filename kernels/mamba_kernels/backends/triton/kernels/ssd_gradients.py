"""SSD inside the chunks, backward: all chunks at once.

One kernel makes the gradients of a head's own inputs, another those of B and C, which the heads of
a group share; each is small enough for the registers, both together are not. That of the gate is
made where the outputs are, in ``chunk_outputs``.

The log decays get their gradients as the flow across each step t: of the pairs with one end before
t and one at or after it, of what the entering state gives to later steps, and of what earlier steps
give to the leaving state. The first is a difference of sums, so its diagonal is left out of both.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import LN2, sigmoid, silu
from mamba_kernels.backends.triton.kernels.ssd_chunk import (
    chunk_of_slot,
    rate,
    read_tokens,
    scalar,
    step_sizes,
    tile,
)


@triton.jit(do_not_specialize=["length", "rows", "paths", "heads", "per_group"])
def head_gradients(
    dout, x, dt, A, B, C, D, z, bias, order, cu_seqlens, entering, leaving,
    dx, ddt, dA, dD, dbias,
    dout_at, x_at, dt_at, A_at, B_at, C_at, D_at, z_at, bias_at, order_at, dx_at, ddt_at,
    length, rows, paths, heads, per_group, low, high, places, states,
    P: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """x, dt, A, D and bias: one chunk, one path, one head.

    Arguments as in ``chunk_outputs``.

    :param dA: ``(slots, paths, heads)``, as dbias; dD ``(slots, paths, heads, P)``.
    """
    item = tl.program_id(0)
    head = (item % heads).to(tl.int64)
    group = head // per_group
    path = (item // heads % paths).to(tl.int64)
    slot = item // heads // paths
    batch, start, end = chunk_of_slot(slot, cu_seqlens, length, rows, CHUNK)
    order_base = order
    if order is not None:
        order_base = order + batch * order_at[0] + path * order_at[1]
    tokens = read_tokens(order_base, start, end, order_at[2], CHUNK)
    i = tl.arange(0, CHUNK)
    live = start + i < end
    later = i[:, None] >= i[None, :]
    B_base = B + batch * B_at[0] + path * B_at[1] + group * B_at[3]
    C_base = C + batch * C_at[0] + path * C_at[1] + group * C_at[3]
    CB = tl.zeros([CHUNK, CHUNK], tl.float32)
    for first in range(0, states, COLUMNS):
        Bs = tile(B_base, tokens, live, B_at[2], first, N, COLUMNS, B_at[4]).to(DOT)
        Cs = tile(C_base, tokens, live, C_at[2], first, N, COLUMNS, C_at[4]).to(DOT)
        CB += tl.dot(Cs, tl.trans(Bs), input_precision=PRECISION)
    a = rate(A, path, head, A_at)
    dt_base = dt + batch * dt_at[0] + path * dt_at[1] + head * dt_at[3]
    shift = scalar(bias, path, head, bias_at)
    raw, step, free = step_sizes(dt_base, tokens, live, dt_at[2], shift, low, high, SOFTPLUS, FAST)
    log = tl.cumsum(step * a, 0)
    whole = tl.sum(step * a, 0)
    mixing = CB * tl.exp2(tl.where(later, log[:, None] - log[None, :], float("-inf")))
    x_base = x + batch * x_at[0] + path * x_at[1] + head * x_at[3]
    dout_base = dout + batch * dout_at[0] + path * dout_at[1] + head * dout_at[3]
    if z is not None:
        z_base = z + batch * z_at[0] + path * z_at[1] + head * z_at[3]
    dx_base = dx + batch * dx_at[0] + path * dx_at[1] + head * dx_at[3]
    number = (slot.to(tl.int64) * paths + path) * heads + head
    pair = tl.zeros([CHUNK, CHUNK], tl.float32)
    carried = tl.zeros([CHUNK], tl.float32)
    given = tl.zeros([CHUNK], tl.float32)
    taken = tl.zeros([CHUNK], tl.float32)
    along = tl.zeros([ROWS], tl.float32)
    for place in range(0, places, ROWS):
        p = place + tl.arange(0, ROWS)
        from_state = tl.zeros([CHUNK, ROWS], tl.float32)
        grad = tl.zeros([CHUNK, ROWS], tl.float32)
        for first in range(0, states, COLUMNS):
            n = first + tl.arange(0, COLUMNS)
            there = (p < P)[:, None] & (n < N)[None, :] & (start < end)
            at = number * (P * N) + p[:, None] * N + n[None, :]
            Cs = tile(C_base, tokens, live, C_at[2], first, N, COLUMNS, C_at[4]).to(DOT)
            state = tl.load(entering + at, mask=there, other=0.0)
            from_state += tl.dot(Cs, tl.trans(state.to(DOT)), input_precision=PRECISION)
            Bs = tile(B_base, tokens, live, B_at[2], first, N, COLUMNS, B_at[4]).to(DOT)
            after = tl.load(leaving + at, mask=there, other=0.0)
            grad += tl.dot(Bs, tl.trans(after.to(DOT)), input_precision=PRECISION)
            along += tl.sum(state.to(tl.float32) * after.to(tl.float32), 1)
        xs = tile(x_base, tokens, live, x_at[2], place, P, ROWS, x_at[4])
        dy = tile(dout_base, tokens, live, dout_at[2], place, P, ROWS, dout_at[4])
        if z is not None:
            dy = dy * silu(tile(z_base, tokens, live, z_at[2], place, P, ROWS, z_at[4]))
        carried += tl.sum(from_state * dy, 1)
        grad = grad * tl.exp2(whole - log)[:, None]
        given += tl.sum(grad * xs, 1)
        pair += tl.dot(dy.to(DOT), tl.trans(xs.to(DOT)), input_precision=PRECISION)
        grad += tl.dot(tl.trans(mixing.to(DOT)), dy.to(DOT), input_precision=PRECISION)
        taken += tl.sum(grad * xs, 1)
        grad = grad * step[:, None]
        if D is not None:
            D_base = D + path * D_at[0] + head * D_at[1]
            skip = tl.load(D_base + p * D_at[2], mask=p < P, other=0.0).to(tl.float32)
            grad += skip[None, :] * dy
            tl.store(dD + number * P + p, tl.sum(dy * xs, 0), mask=p < P)
        to = dx_base + tokens[:, None] * dx_at[2] + p.to(tl.int64)[None, :] * dx_at[4]
        tl.store(to, grad.to(dx.dtype.element_ty), mask=live[:, None] & (p < P)[None, :])
    flow = tl.where(i[:, None] > i[None, :], pair * mixing, 0.0) * step[None, :]
    net = tl.sum(flow, 1) - tl.sum(flow, 0) + carried * tl.exp2(log)
    crossing = tl.sum(tl.where(later, net[:, None], (given * step)[:, None]), 0)
    crossing += tl.sum(along, 0) * tl.exp2(whole)
    tl.store(dA + number, tl.sum(crossing * step, 0))
    dstep = tl.where(free & live, taken + crossing * (a * LN2), 0.0)
    if SOFTPLUS:
        dstep = dstep * sigmoid(raw)
    to = ddt + batch * ddt_at[0] + path * ddt_at[1] + head * ddt_at[3]
    tl.store(to + tokens * ddt_at[2], dstep.to(ddt.dtype.element_ty), mask=live)
    if dbias is not None:
        tl.store(dbias + number, tl.sum(dstep, 0))


@triton.jit(
    do_not_specialize=["length", "rows", "batches", "paths", "heads", "per_group"],
)
def group_gradients(
    dout, x, dt, A, B, C, z, bias, order, cu_seqlens, entering, leaving, dB, dC,
    dout_at, x_at, dt_at, A_at, B_at, C_at, z_at, bias_at, order_at,
    length, rows, batches, paths, heads, per_group, low, high, places,
    P: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, CHUNK: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """B and C: one chunk, one path, COLUMNS states, summed over up to HEADS heads of one group.

    :param dB: ``(head blocks, batch, paths, length, groups, N)``, as dC.
    """
    blocks = tl.cdiv(per_group, HEADS)
    groups = heads // per_group
    parts = tl.cdiv(N, COLUMNS)
    first = tl.program_id(0) % parts * COLUMNS
    item = tl.program_id(0) // parts
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
    n = first + tl.arange(0, COLUMNS)
    sum_CB = tl.zeros([CHUNK, CHUNK], tl.float32)
    sum_B = tl.zeros([CHUNK, COLUMNS], tl.float32)
    sum_C = tl.zeros([CHUNK, COLUMNS], tl.float32)
    for h in range(block * HEADS, tl.minimum(block * HEADS + HEADS, per_group)):
        head = (group * per_group + h).to(tl.int64)
        a = rate(A, path, head, A_at)
        dt_base = dt + batch * dt_at[0] + path * dt_at[1] + head * dt_at[3]
        shift = scalar(bias, path, head, bias_at)
        _, step, _ = step_sizes(dt_base, tokens, live, dt_at[2], shift, low, high, SOFTPLUS, FAST)
        log = tl.cumsum(step * a, 0)
        whole = tl.sum(step * a, 0)
        past = tl.where(i[:, None] >= i[None, :], log[:, None] - log[None, :], float("-inf"))
        x_base = x + batch * x_at[0] + path * x_at[1] + head * x_at[3]
        dout_base = dout + batch * dout_at[0] + path * dout_at[1] + head * dout_at[3]
        if z is not None:
            z_base = z + batch * z_at[0] + path * z_at[1] + head * z_at[3]
        number = (slot.to(tl.int64) * paths + path) * heads + head
        for place in range(0, places, ROWS):
            p = place + tl.arange(0, ROWS)
            inputs = tile(x_base, tokens, live, x_at[2], place, P, ROWS, x_at[4]) * step[:, None]
            dy = tile(dout_base, tokens, live, dout_at[2], place, P, ROWS, dout_at[4])
            if z is not None:
                dy = dy * silu(tile(z_base, tokens, live, z_at[2], place, P, ROWS, z_at[4]))
            pair = tl.dot(dy.to(DOT), tl.trans(inputs.to(DOT)), input_precision=PRECISION)
            sum_CB += pair * tl.exp2(past)
            at = number * (P * N) + p[:, None] * N + n[None, :]
            there = (p < P)[:, None] & (n < N)[None, :] & (start < end)
            state = tl.load(entering + at, mask=there, other=0.0).to(DOT)
            dy = (dy * tl.exp2(log)[:, None]).to(DOT)
            sum_C += tl.dot(dy, state, input_precision=PRECISION)
            after = tl.load(leaving + at, mask=there, other=0.0).to(DOT)
            inputs = (inputs * tl.exp2(whole - log)[:, None]).to(DOT)
            sum_B += tl.dot(inputs, after, input_precision=PRECISION)
    B_base = B + batch * B_at[0] + path * B_at[1] + group.to(tl.int64) * B_at[3]
    C_base = C + batch * C_at[0] + path * C_at[1] + group.to(tl.int64) * C_at[3]
    inner = sum_CB.to(DOT)
    Bs = tile(B_base, tokens, live, B_at[2], first, N, COLUMNS, B_at[4]).to(DOT)
    sum_C += tl.dot(inner, Bs, input_precision=PRECISION)
    Cs = tile(C_base, tokens, live, C_at[2], first, N, COLUMNS, C_at[4]).to(DOT)
    sum_B += tl.dot(tl.trans(inner), Cs, input_precision=PRECISION)
    to = (block.to(tl.int64) * batches + batch) * paths + path
    to = ((to * length + tokens[:, None]) * groups + group) * N + n[None, :]
    known = live[:, None] & (n < N)[None, :]
    tl.store(dB + to, sum_B, mask=known)
    tl.store(dC + to, sum_C, mask=known)
