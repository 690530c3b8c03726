"""SSD, from chunk to chunk: the states forward in time, or their gradients backward.

Each program carries a block of rows of one head's state ``[ROWS, N]`` through all chunks of one
sequence, in float32, and writes it at every border for the kernels that work inside the chunks.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import silu
from mamba_kernels.backends.triton.kernels.sequences import sequence
from mamba_kernels.backends.triton.kernels.ssd_chunk import (
    rate,
    read_tokens,
    scalar,
    step_sizes,
    tile,
)


@triton.jit
def _item(item, blocks, heads, paths):
    block = item % blocks
    head = (item // blocks % heads).to(tl.int64)
    path = (item // blocks // heads % paths).to(tl.int64)
    return block, head, path, item // blocks // heads // paths


@triton.jit(do_not_specialize=["length", "paths", "heads", "per_group"])
def entering_states(
    x, dt, A, B, bias, initial, order, cu_seqlens, entering, last,
    x_at, dt_at, A_at, B_at, bias_at, initial_at, order_at,
    length, paths, heads, per_group, low, high,
    P: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The state before every chunk, and that behind the last one.

    :param entering: ``(slots, paths, heads, P, N)`` in the dtype of the products, DOT.
    :param last: float32 ``(rows, paths, heads, P, N)``, or None.
    """
    block, head, path, row = _item(tl.program_id(0), tl.cdiv(P, ROWS), heads, paths)
    batch, first, end, slot = sequence(row, cu_seqlens, length, CHUNK)
    p = block * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    there = (p < P)[:, None] & (n < N)[None, :]
    inside = p[:, None] * N + n[None, :]
    state = tl.zeros([ROWS, COLUMNS], tl.float32)
    if initial is not None:
        at = initial + row.to(tl.int64) * initial_at[0] + path * initial_at[1]
        at = at + head * initial_at[2] + p[:, None] * initial_at[3] + n[None, :] * initial_at[4]
        state = tl.load(at, mask=there, other=0.0).to(tl.float32)
    a = rate(A, path, head, A_at)
    shift = scalar(bias, path, head, bias_at)
    x_base = x + batch * x_at[0] + path * x_at[1] + head * x_at[3]
    dt_base = dt + batch * dt_at[0] + path * dt_at[1] + head * dt_at[3]
    B_base = B + batch * B_at[0] + path * B_at[1] + head // per_group * B_at[3]
    order_base = order
    if order is not None:
        order_base = order + batch * order_at[0] + path * order_at[1]
    for chunk in range(tl.cdiv(end - first, CHUNK)):
        start = first + chunk * CHUNK
        to = entering + (((slot + chunk) * paths + path) * heads + head) * (P * N)
        tl.store(to + inside, state.to(DOT), mask=there)
        tokens = read_tokens(order_base, start, end, order_at[2], CHUNK)
        live = start + tl.arange(0, CHUNK) < end
        _, step, _ = step_sizes(dt_base, tokens, live, dt_at[2], shift, low, high, SOFTPLUS, FAST)
        log = tl.cumsum(step * a, 0)
        whole = tl.sum(step * a, 0)
        xs = tile(x_base, tokens, live, x_at[2], block * ROWS, P, ROWS, x_at[4])
        inflow = (xs * (step * tl.exp2(whole - log))[:, None]).to(DOT)
        Bs = tile(B_base, tokens, live, B_at[2], 0, N, COLUMNS, B_at[4]).to(DOT)
        state = state * tl.exp2(whole)
        state += tl.dot(tl.trans(inflow), Bs, input_precision=PRECISION)
    if last is not None:
        to = last + ((row.to(tl.int64) * paths + path) * heads + head) * (P * N)
        tl.store(to + inside, state, mask=there)


@triton.jit(do_not_specialize=["length", "paths", "heads", "per_group"])
def leaving_gradients(
    dout, dlast, z, dt, A, C, bias, order, cu_seqlens, leaving, dinitial,
    dout_at, dlast_at, z_at, dt_at, A_at, C_at, bias_at, order_at,
    length, paths, heads, per_group, low, high,
    P: tl.constexpr, N: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    CHUNK: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr, DOT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient by the state behind every chunk, and that by the initial state.

    :param leaving: like ``entering`` of :func:`entering_states`; ``dinitial`` like ``last``.
    """
    block, head, path, row = _item(tl.program_id(0), tl.cdiv(P, ROWS), heads, paths)
    batch, first, end, slot = sequence(row, cu_seqlens, length, CHUNK)
    p = block * ROWS + tl.arange(0, ROWS)
    n = tl.arange(0, COLUMNS)
    there = (p < P)[:, None] & (n < N)[None, :]
    inside = p[:, None] * N + n[None, :]
    grad = tl.zeros([ROWS, COLUMNS], tl.float32)
    if dlast is not None:
        at = dlast + row.to(tl.int64) * dlast_at[0] + path * dlast_at[1]
        at = at + head * dlast_at[2] + p[:, None] * dlast_at[3] + n[None, :] * dlast_at[4]
        grad = tl.load(at, mask=there, other=0.0).to(tl.float32)
    a = rate(A, path, head, A_at)
    shift = scalar(bias, path, head, bias_at)
    dout_base = dout + batch * dout_at[0] + path * dout_at[1] + head * dout_at[3]
    dt_base = dt + batch * dt_at[0] + path * dt_at[1] + head * dt_at[3]
    C_base = C + batch * C_at[0] + path * C_at[1] + head // per_group * C_at[3]
    order_base = order
    if order is not None:
        order_base = order + batch * order_at[0] + path * order_at[1]
    if z is not None:
        z_base = z + batch * z_at[0] + path * z_at[1] + head * z_at[3]
    chunks = tl.cdiv(end - first, CHUNK)
    for behind in range(chunks):
        chunk = chunks - 1 - behind
        start = first + chunk * CHUNK
        to = leaving + (((slot + chunk) * paths + path) * heads + head) * (P * N)
        tl.store(to + inside, grad.to(DOT), mask=there)
        tokens = read_tokens(order_base, start, end, order_at[2], CHUNK)
        live = start + tl.arange(0, CHUNK) < end
        _, step, _ = step_sizes(dt_base, tokens, live, dt_at[2], shift, low, high, SOFTPLUS, FAST)
        log = tl.cumsum(step * a, 0)
        dy = tile(dout_base, tokens, live, dout_at[2], block * ROWS, P, ROWS, dout_at[4])
        if z is not None:
            dy = dy * silu(tile(z_base, tokens, live, z_at[2], block * ROWS, P, ROWS, z_at[4]))
        Cs = tile(C_base, tokens, live, C_at[2], 0, N, COLUMNS, C_at[4]).to(DOT)
        grad = grad * tl.exp2(tl.sum(step * a, 0))
        dy = (dy * tl.exp2(log)[:, None]).to(DOT)
        grad += tl.dot(tl.trans(dy), Cs, input_precision=PRECISION)
    if dinitial is not None:
        to = dinitial + ((row.to(tl.int64) * paths + path) * heads + head) * (P * N)
        tl.store(to + inside, grad, mask=there)
