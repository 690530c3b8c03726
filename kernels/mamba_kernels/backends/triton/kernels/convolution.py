"""Causal depth-wise convolution: tiles ``[CHANNELS, STEPS]``, one shifted load per tap.

Where sequences are packed, ``starts`` and ``ends`` (int32 ``(batch, length)``) say for every step
where its sequence begins and ends, and ``rows`` which one it is. Without ``rows`` a row holds
several segments (``SEGMENTS``): its first one has the row's initial state, its last one gives the
row's last.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import silu, silu_slope


@triton.jit
def _place(
    length, width, paths,
    CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Batch item, path, channels (the last one again where there is none), steps."""
    item = tl.program_id(0)
    times = tl.cdiv(length, STEPS)
    blocks = tl.cdiv(width, CHANNELS)
    t = item % times * STEPS + tl.arange(0, STEPS)
    channel = item // times % blocks * CHANNELS + tl.arange(0, CHANNELS)
    path = item // times // blocks % paths
    batch = item // times // blocks // paths
    slot = batch * times + item % times
    live = (channel < width)[:, None] & (t < length)[None, :]
    channels = tl.minimum(channel, width - 1).to(tl.int64)
    return (
        batch.to(tl.int64),
        path.to(tl.int64),
        slot.to(tl.int64),
        channels,
        channel < width,
        t,
        live,
    )


@triton.jit
def _bounds(starts, ends, rows, batch, t, length):
    """Start, end and row of the sequence of each step."""
    known = t < length
    if starts is None:
        start = t * 0
        end = t * 0 + length
    else:
        start = tl.load(starts + batch * length + t, mask=known, other=0)
        end = tl.load(ends + batch * length + t, mask=known, other=0)
    if rows is None:
        row = t.to(tl.int64) * 0 + batch
    else:
        row = tl.load(rows + t, mask=known, other=0).to(tl.int64)
    return start, end, row


@triton.jit
def _tap(
    base, initial, order, channels, source, start, row, live,
    stride, initial_at, order_stride, WIDTH: tl.constexpr, SEGMENTS: tl.constexpr,
):  # fmt: skip
    """Inputs ``[CHANNELS, STEPS]`` at the positions ``source``, in float32; from the initial state
    where they lie before the start."""
    inside = live & (source >= start)[None, :]
    token = tl.maximum(source, 0).to(tl.int64)
    if order is not None:
        token = tl.load(order + token * order_stride, mask=source >= start, other=0).to(tl.int64)
    value = tl.load(base[:, None] + (token * stride)[None, :], mask=inside, other=0.0)
    value = value.to(tl.float32)
    if initial is not None:
        before = live & (source < start)[None, :]
        if SEGMENTS:
            before = before & (start == 0)[None, :]
        at = row * initial_at[0] + (source - start + WIDTH - 1) * initial_at[3]
        at = initial + channels[:, None] * initial_at[2] + at[None, :]
        value += tl.load(at, mask=before, other=0.0).to(tl.float32)
    return value


@triton.jit(do_not_specialize=["length", "width", "paths"])
def convolve(
    x, weight, bias, initial, order, starts, ends, rows, dout, out, dweight, dbias,
    x_at, weight_at, bias_at, initial_at, order_at, dout_at, out_at,
    length, width, paths,
    WIDTH: tl.constexpr, SILU: tl.constexpr, SEGMENTS: tl.constexpr, CHANNELS: tl.constexpr,
    STEPS: tl.constexpr,
):  # fmt: skip
    """Outputs; or, with ``dout``, the gradients before the activation in their place.

    :param dweight: with ``dout``: float32 ``(batch * time blocks, paths, channels, WIDTH)``, to be
        summed over the first dimension; dbias alike without WIDTH.
    """
    batch, path, slot, channels, exists, t, live = _place(length, width, paths, CHANNELS, STEPS)
    start, end, row = _bounds(starts, ends, rows, batch, t, length)
    base = x + batch * x_at[0] + path * x_at[1] + channels * x_at[2]
    if initial is not None:
        initial += path * initial_at[1]
    if order is not None:
        order += batch * order_at[0] + path * order_at[1]
    weights = weight + path * weight_at[0] + channels * weight_at[1]
    y = tl.zeros([CHANNELS, STEPS], tl.float32)
    if bias is not None:
        y += tl.load(bias + path * bias_at[0] + channels * bias_at[1]).to(tl.float32)[:, None]
    for i in tl.static_range(WIDTH):
        value = _tap(
            base, initial, order, channels, t - (WIDTH - 1) + i, start, row, live,
            x_at[3], initial_at, order_at[2], WIDTH, SEGMENTS,
        )  # fmt: skip
        y += tl.load(weights + i * weight_at[2]).to(tl.float32)[:, None] * value
    token = tl.minimum(t, length - 1).to(tl.int64)
    if order is not None:
        token = tl.load(order + token * order_at[2]).to(tl.int64)
    if dout is None:
        if SILU:
            y = silu(y)
        to = out + batch * out_at[0] + path * out_at[1] + channels[:, None] * out_at[2]
        tl.store(to + token[None, :] * out_at[3], y.to(out.dtype.element_ty), mask=live)
    else:
        at = dout + batch * dout_at[0] + path * dout_at[1] + channels[:, None] * dout_at[2]
        g = tl.load(at + token[None, :] * dout_at[3], mask=live, other=0.0).to(tl.float32)
        if SILU:
            g = g * silu_slope(y)
        # kept in scan order, in which it is read again
        to = out + batch * out_at[0] + path * out_at[1] + channels[:, None] * out_at[2]
        tl.store(to + t.to(tl.int64)[None, :] * out_at[3], g.to(out.dtype.element_ty), mask=live)
        place = (slot * paths + path) * width + channels
        if dbias is not None:
            tl.store(dbias + place, tl.sum(g, 1), mask=exists)
        if dweight is not None:
            for i in tl.static_range(WIDTH):
                value = _tap(
                    base, initial, order, channels, t - (WIDTH - 1) + i, start, row, live,
                    x_at[3], initial_at, order_at[2], WIDTH, SEGMENTS,
                )  # fmt: skip
                tl.store(dweight + place * WIDTH + i, tl.sum(g * value, 1), mask=exists)


@triton.jit(do_not_specialize=["length", "width", "paths"])
def input_gradients(
    grad, dlast, weight, order, starts, ends, rows, dx,
    grad_at, dlast_at, weight_at, order_at, dx_at,
    length, width, paths,
    WIDTH: tl.constexpr, SEGMENTS: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Gradients by the inputs, from those before the activation and those by the last inputs."""
    batch, path, slot, channels, exists, t, live = _place(length, width, paths, CHANNELS, STEPS)
    start, end, row = _bounds(starts, ends, rows, batch, t, length)
    base = grad + batch * grad_at[0] + path * grad_at[1] + channels[:, None] * grad_at[2]
    weights = weight + path * weight_at[0] + channels * weight_at[1]
    total = tl.zeros([CHANNELS, STEPS], tl.float32)
    for i in tl.static_range(WIDTH):
        later = t + (WIDTH - 1) - i
        at = base + later.to(tl.int64)[None, :] * grad_at[3]
        g = tl.load(at, mask=live & (later < end)[None, :], other=0.0).to(tl.float32)
        total += tl.load(weights + i * weight_at[2]).to(tl.float32)[:, None] * g
    if dlast is not None:
        i = t - (end - (WIDTH - 1))
        last = live & (i >= 0)[None, :]
        if SEGMENTS:
            last = last & (end == length)[None, :]
        at = row * dlast_at[0] + i * dlast_at[3]
        at = dlast + path * dlast_at[1] + channels[:, None] * dlast_at[2] + at[None, :]
        total += tl.load(at, mask=last, other=0.0).to(tl.float32)
    token = tl.minimum(t, length - 1).to(tl.int64)
    if order is not None:
        order += batch * order_at[0] + path * order_at[1]
        token = tl.load(order + token * order_at[2]).to(tl.int64)
    to = dx + batch * dx_at[0] + path * dx_at[1] + channels[:, None] * dx_at[2]
    tl.store(to + token[None, :] * dx_at[3], total.to(dx.dtype.element_ty), mask=live)


@triton.jit
def _row_place(first, end, width, paths, length, PACKED: tl.constexpr, CHANNELS: tl.constexpr):
    """Row, path, channels, and where the row's sequence begins and ends."""
    blocks = tl.cdiv(width, CHANNELS)
    item = tl.program_id(0)
    channel = item % blocks * CHANNELS + tl.arange(0, CHANNELS)
    path = (item // blocks % paths).to(tl.int64)
    row = (item // blocks // paths).to(tl.int64)
    start = tl.zeros((), tl.int32)
    stop = start + length
    if first is not None:
        start = tl.minimum(tl.maximum(tl.load(first + row).to(tl.int32), 0), length)
    if end is not None:
        stop = tl.minimum(tl.maximum(tl.load(end + row).to(tl.int32), start), length)
    batch = row
    if PACKED:
        batch = row * 0
    return row, batch, path, channel.to(tl.int64), channel < width, start, stop


@triton.jit(do_not_specialize=["length", "width", "paths"])
def last_inputs(
    x, initial, order, first, end, last,
    x_at, initial_at, order_at, length, width, paths,
    WIDTH: tl.constexpr, PLACES: tl.constexpr, PACKED: tl.constexpr, SEGMENTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """The WIDTH - 1 inputs before the end of each row, ``(rows, paths, channels, WIDTH - 1)``.

    :param first: where each row's last sequence begins, None for 0; ``end`` alike, None for length.
    """
    row, batch, path, channels, exists, start, stop = _row_place(
        first, end, width, paths, length, PACKED, CHANNELS
    )
    i = tl.arange(0, PLACES)
    live = exists[:, None] & (i < WIDTH - 1)[None, :]
    base = x + batch * x_at[0] + path * x_at[1] + channels * x_at[2]
    if initial is not None:
        initial += path * initial_at[1]
    if order is not None:
        order += batch * order_at[0] + path * order_at[1]
    source = stop - (WIDTH - 1) + i
    # places without an input are masked by `live`, and must not be looked up in the order
    source = tl.where(i < WIDTH - 1, source, start)
    source = tl.minimum(source, length - 1)
    value = _tap(
        base, initial, order, channels, source, i * 0 + start, row + i.to(tl.int64) * 0, live,
        x_at[3], initial_at, order_at[2], WIDTH, SEGMENTS,
    )  # fmt: skip
    to = last + ((row * paths + path) * width + channels[:, None]) * (WIDTH - 1) + i[None, :]
    tl.store(to, value.to(last.dtype.element_ty), mask=live)


@triton.jit(do_not_specialize=["length", "width", "paths"])
def initial_gradients(
    grad, dlast, weight, first, end, dinitial,
    grad_at, dlast_at, weight_at, length, width, paths,
    WIDTH: tl.constexpr, PLACES: tl.constexpr, PACKED: tl.constexpr, SEGMENTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """Gradients by the initial states, float32 and contiguous like ``last`` of ``last_inputs``.

    :param first: where each row's first sequence begins, None for 0; ``end`` alike.
    """
    row, batch, path, channels, exists, start, stop = _row_place(
        first, end, width, paths, length, PACKED, CHANNELS
    )
    i = tl.arange(0, PLACES)
    live = exists[:, None] & (i < WIDTH - 1)[None, :]
    base = grad + batch * grad_at[0] + path * grad_at[1] + channels * grad_at[2]
    weights = weight + path * weight_at[0] + channels * weight_at[1]
    total = tl.zeros([CHANNELS, PLACES], tl.float32)
    for m in tl.static_range(WIDTH - 1):  # step `start + m` reads place i by tap i - m
        at = base + (start + m).to(tl.int64) * grad_at[3]
        g = tl.load(at, mask=exists & (start + m < stop), other=0.0).to(tl.float32)
        at = weights[:, None] + (i - m)[None, :] * weight_at[2]
        total += tl.load(at, mask=live & (i >= m)[None, :], other=0.0).to(tl.float32) * g[:, None]
    if dlast is not None:  # a short sequence hands on what it did not replace
        j = i - (stop - start)
        handed = live & (j >= 0)[None, :]
        if SEGMENTS:
            handed = handed & (stop == length)
        at = dlast + row * dlast_at[0] + path * dlast_at[1] + channels[:, None] * dlast_at[2]
        total += tl.load(at + j[None, :] * dlast_at[3], mask=handed, other=0.0).to(tl.float32)
    to = dinitial + ((row * paths + path) * width + channels[:, None]) * (WIDTH - 1) + i[None, :]
    tl.store(to, total, mask=live)
