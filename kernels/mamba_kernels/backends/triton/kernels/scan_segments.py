"""The states between the segments of a selective scan, or the gradients by them.

``h -> decay * h + inflow`` is affine, so that a segment of time does to the state that enters it
what one pair does: its whole decay, and the state with which it ends when it begins with zero. All
segments find their pair at once (:func:`segment_ends`), then the pairs are applied one after the
other (:func:`between_segments`). The decay of a segment is that of the sum of its step sizes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import LOG2E, silu
from mamba_kernels.backends.triton.kernels.scan_place import by_channel, place, rates
from mamba_kernels.backends.triton.kernels.sequences import sequence
from mamba_kernels.backends.triton.kernels.steps import load_steps, step_size, tokens_of


@triton.jit(do_not_specialize=["rows", "paths", "groups", "width", "W_groups"])
def segment_ends(
    x, delta, A, W, z, bias, order, cu_seqlens, ends, elapsed,
    x_at, delta_at, A_at, z_at, bias_at, order_at,
    length, rows, span, paths, groups, width, W_groups,
    N: tl.constexpr, TILES: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr,
    STEPS: tl.constexpr, SOFTPLUS: tl.constexpr, FAST: tl.constexpr, RAGGED: tl.constexpr,
    REVERSED: tl.constexpr, TILED: tl.constexpr,
):  # fmt: skip
    """What each segment ends with when it begins with zero. Arguments as in ``scan_forward``.

    :param x: u; with REVERSED the gradient by the outputs.
    :param W: B; with REVERSED C.
    :param z: with REVERSED the gate, else None.
    :param ends: ``(segments, paths, channels, N)``; with REVERSED the gradients by the states with
        which the segments begin, of what they give to their own outputs.
    :param elapsed: ``(segments, paths, channels)``, the sums of the step sizes.
    :param TILED: for each of x, delta and z.
    """
    piece, batch, path, group, _, channels, live, first, end, _ = place(
        tl.program_id(0), cu_seqlens, length, rows, span, paths, groups, width, BLOCK, STEPS
    )
    x_base = x + batch * x_at[0] + path * x_at[1] + channels * x_at[2]
    delta_base = delta + batch * delta_at[0] + path * delta_at[1] + channels * delta_at[2]
    W_base = W + ((batch * paths + path) * W_groups + tl.minimum(group, W_groups - 1)) * length * N
    order_base = order
    if order is not None:
        order_base = order + batch * order_at[0] + path * order_at[1]
    if z is not None:
        z_base = z + batch * z_at[0] + path * z_at[1] + channels * z_at[2]
    shift = by_channel(bias, path, channels, bias_at, BLOCK)
    a = ()
    h = ()
    for i in tl.static_range(TILES):
        n = i * PART + tl.arange(0, PART)
        a = a + (rates(A, path, channels, n, live[:, None] & (n < N)[None, :], A_at),)
        h = h + (tl.zeros([BLOCK, PART], tl.float32),)
    spent = tl.zeros([BLOCK], tl.float32)

    BEGIN: tl.constexpr = STEPS - 1 if REVERSED else 0
    STOP: tl.constexpr = -1 if REVERSED else STEPS
    BY: tl.constexpr = -1 if REVERSED else 1
    rounds = tl.cdiv(end - first, STEPS)
    t = first
    if REVERSED:
        t = first + tl.maximum(rounds - 1, 0) * STEPS
    tokens = tokens_of(order_base, t, end, order_at[2], STEPS)
    xs = load_steps(x_base, tokens, t, end, x_at[3], BLOCK, STEPS, TILED[0])
    deltas = load_steps(delta_base, tokens, t, end, delta_at[3], BLOCK, STEPS, TILED[1])
    for _ in range(rounds):
        after = t + STEPS
        if REVERSED:
            after = tl.maximum(t - STEPS, first)
        next_tokens = tokens_of(order_base, after, end, order_at[2], STEPS)
        next_xs = load_steps(x_base, next_tokens, after, end, x_at[3], BLOCK, STEPS, TILED[0])
        next_deltas = load_steps(
            delta_base, next_tokens, after, end, delta_at[3], BLOCK, STEPS, TILED[1]
        )
        if z is not None:
            zs = load_steps(z_base, tokens, t, end, z_at[3], BLOCK, STEPS, TILED[2])
        for j in tl.static_range(BEGIN, STOP, BY):
            value = xs[j].to(tl.float32)
            if z is not None:
                value = value * silu(zs[j].to(tl.float32))
            dt = step_size(deltas[j], shift, t + j >= end, SOFTPLUS, RAGGED, FAST)
            spent += dt
            if not REVERSED:
                value = value * dt
            elif RAGGED:
                value = tl.where(t + j < end, value, 0.0)
            new = ()
            for i in tl.static_range(TILES):
                n = i * PART + tl.arange(0, PART)
                w = tl.load(W_base + tokens[j] * N + n, mask=n < N, other=0.0)
                inflow = value[:, None] * w[None, :]
                decay = tl.exp2(dt[:, None] * a[i])
                if REVERSED:
                    new = new + (decay * (h[i] + inflow),)
                else:
                    new = new + (decay * h[i] + inflow,)
            h = new
        t = after
        tokens = next_tokens
        xs = next_xs
        deltas = next_deltas
    at = (piece * paths + path) * (groups * width) + channels
    tl.store(elapsed + at, spent, mask=live)
    for i in tl.static_range(TILES):
        n = i * PART + tl.arange(0, PART)
        there = live[:, None] & (n < N)[None, :]
        tl.store(ends + at[:, None] * N + n[None, :], h[i], mask=there)


@triton.jit(do_not_specialize=["paths", "channels"])
def between_segments(
    ends, elapsed, A, outer, cu_seqlens, entering, last,
    A_at, outer_at, length, span, paths, channels,
    N: tl.constexpr, BLOCK: tl.constexpr, TOGETHER: tl.constexpr, REVERSED: tl.constexpr,
):  # fmt: skip
    """What each segment begins with, from what it and those before it end with.

    :param outer: ``(rows, paths, channels, N)``, what the first segment of a row begins with; None
        for zero. With REVERSED time runs backward: the last segment.
    :param entering: like ends.
    :param last: float32 ``(rows, paths, channels, N)`` contiguous, behind the last segment; or
        None.
    :param BLOCK: elements of the states of a path in one program.
    :param TOGETHER: segments that are read at once; reading takes longer than all the rest.
    """
    size = channels * N
    blocks = tl.cdiv(size, BLOCK)
    item = tl.program_id(0)
    element = item % blocks * BLOCK + tl.arange(0, BLOCK)
    path = (item // blocks % paths).to(tl.int64)
    row = (item // blocks // paths).to(tl.int64)
    live = element < size
    channel = (element // N).to(tl.int64)
    n = element % N
    at = A + path * A_at[0] + channel * A_at[1] + n * A_at[2]
    rate = tl.load(at, mask=live, other=0.0).to(tl.float32) * LOG2E
    h = tl.zeros([BLOCK], tl.float32)
    if outer is not None:
        at = outer + row * outer_at[0] + path * outer_at[1]
        at = at + channel * outer_at[2] + n * outer_at[3]
        h = tl.load(at, mask=live, other=0.0).to(tl.float32)
    _, first, end, slot = sequence(row, cu_seqlens, length, span)
    count = tl.cdiv(end - first, span)
    for start in range(0, count, TOGETHER):
        inflows = ()
        steps = ()
        for j in tl.static_range(TOGETHER):
            number = start + j
            if REVERSED:
                number = count - 1 - number
            place = ((slot + number) * paths + path) * channels
            here = live & (start + j < count)
            inflows = inflows + (tl.load(ends + place * N + element, mask=here, other=0.0),)
            steps = steps + (tl.load(elapsed + place + channel, mask=here, other=0.0),)
        for j in tl.static_range(TOGETHER):
            number = start + j
            if REVERSED:
                number = count - 1 - number
            place = ((slot + number) * paths + path) * channels
            tl.store(entering + place * N + element, h, mask=live & (start + j < count))
            h = tl.exp2(rate * steps[j]) * h + inflows[j]
    if last is not None:
        tl.store(last + (row * paths + path) * size + element, h, mask=live)
