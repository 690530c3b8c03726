"""SSD inside the chunks, forward: all chunks at once, ``C B^T`` once for heads that share it."""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import silu, silu_slope
from mamba_kernels.backends.triton.kernels.ssd_chunk import (
    chunk_of_slot,
    rate,
    read_tokens,
    scalar,
    step_sizes,
    tile,
)


@triton.jit(do_not_specialize=["length", "rows", "paths", "heads", "per_group"])
def chunk_outputs(
    x, dt, A, B, C, D, z, bias, order, cu_seqlens, entering, dout, out,
    x_at, dt_at, A_at, B_at, C_at, D_at, z_at, bias_at, order_at, dout_at, out_at,
    length, rows, paths, heads, per_group, low, high, places, states,
    P: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    HEADS: tl.constexpr, CHUNK: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr,
    DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Outputs of one chunk, one path and up to HEADS heads of one group.

    :param dout: None; or the gradient by the outputs, and then ``out`` becomes that by the gate.
    :param places: P, and ``states`` N, as numbers that the compiler does not know, so that it
        leaves the loops alone.
    :param ROWS: places of a head at a time, and COLUMNS states; powers of two.
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
    B_base = B + batch * B_at[0] + path * B_at[1] + group.to(tl.int64) * B_at[3]
    C_base = C + batch * C_at[0] + path * C_at[1] + group.to(tl.int64) * C_at[3]
    CB = tl.zeros([CHUNK, CHUNK], tl.float32)
    for first in range(0, states, COLUMNS):
        Bs = tile(B_base, tokens, live, B_at[2], first, N, COLUMNS, B_at[4]).to(DOT)
        Cs = tile(C_base, tokens, live, C_at[2], first, N, COLUMNS, C_at[4]).to(DOT)
        CB += tl.dot(Cs, tl.trans(Bs), input_precision=PRECISION)
    for h in range(block * HEADS, tl.minimum(block * HEADS + HEADS, per_group)):
        head = (group * per_group + h).to(tl.int64)
        a = rate(A, path, head, A_at)
        dt_base = dt + batch * dt_at[0] + path * dt_at[1] + head * dt_at[3]
        shift = scalar(bias, path, head, bias_at)
        _, step, _ = step_sizes(dt_base, tokens, live, dt_at[2], shift, low, high, SOFTPLUS, FAST)
        log = tl.cumsum(step * a, 0)
        # masked before exp2: differences of the future are positive and would overflow
        past = tl.where(i[:, None] >= i[None, :], log[:, None] - log[None, :], float("-inf"))
        mixing = (CB * tl.exp2(past) * step[None, :]).to(DOT)
        x_base = x + batch * x_at[0] + path * x_at[1] + head * x_at[3]
        if z is not None:
            z_base = z + batch * z_at[0] + path * z_at[1] + head * z_at[3]
            if dout is not None:
                dout_base = dout + batch * dout_at[0] + path * dout_at[1] + head * dout_at[3]
        out_base = out + batch * out_at[0] + path * out_at[1] + head * out_at[3]
        at = entering + ((slot.to(tl.int64) * paths + path) * heads + head) * (P * N)
        for place in range(0, places, ROWS):
            p = place + tl.arange(0, ROWS)
            y = tl.zeros([CHUNK, ROWS], tl.float32)
            for first in range(0, states, COLUMNS):
                n = first + tl.arange(0, COLUMNS)
                there = (p < P)[:, None] & (n < N)[None, :] & (start < end)
                state = tl.load(at + p[:, None] * N + n[None, :], mask=there, other=0.0).to(DOT)
                Cs = tile(C_base, tokens, live, C_at[2], first, N, COLUMNS, C_at[4]).to(DOT)
                y += tl.dot(Cs, tl.trans(state), input_precision=PRECISION)
            y = y * tl.exp2(log)[:, None]
            xs = tile(x_base, tokens, live, x_at[2], place, P, ROWS, x_at[4])
            y += tl.dot(mixing, xs.to(DOT), input_precision=PRECISION)
            if D is not None:
                D_base = D + path * D_at[0] + head * D_at[1]
                skip = tl.load(D_base + p * D_at[2], mask=p < P, other=0.0).to(tl.float32)
                y += skip[None, :] * xs
            if z is not None:
                gate = tile(z_base, tokens, live, z_at[2], place, P, ROWS, z_at[4])
                if dout is None:
                    y = y * silu(gate)
                else:
                    dy = tile(dout_base, tokens, live, dout_at[2], place, P, ROWS, dout_at[4])
                    y = y * dy * silu_slope(gate)
            to = out_base + tokens[:, None] * out_at[2] + p.to(tl.int64)[None, :] * out_at[4]
            tl.store(to, y.to(out.dtype.element_ty), mask=live[:, None] & (p < P)[None, :])
