"""RMS norm with a SiLU gate: tiles ``[ROWS, BLOCK]`` of rows and the channels of one group."""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import silu, silu_slope


@triton.jit
def _tile(x, row, channel, live, at):
    pointers = x + row.to(tl.int64)[:, None] * at[0] + channel.to(tl.int64)[None, :] * at[1]
    return tl.load(pointers, mask=live, other=0.0).to(tl.float32)


@triton.jit
def _vector(x, channel, exists, at):
    return tl.load(x + channel.to(tl.int64) * at, mask=exists, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["rows"])
def norm_forward(
    x, weight, bias, z, out, x_at, weight_at, bias_at, z_at, out_at, rows, size, groups, eps,
    BEFORE_GATE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Outputs of ROWS rows and one group of ``size`` channels."""
    item = tl.program_id(0)
    row = item // groups * ROWS + tl.arange(0, ROWS)
    inside = tl.arange(0, BLOCK)
    exists = inside < size
    channel = item % groups * size + inside
    live = (row < rows)[:, None] & exists[None, :]
    y = _tile(x, row, channel, live, x_at)
    if z is not None:
        gate = silu(_tile(z, row, channel, live, z_at))
        if not BEFORE_GATE:
            y = y * gate
    y = y * tl.rsqrt(tl.sum(y * y, 1) / size + eps)[:, None]
    y = y * _vector(weight, channel, exists, weight_at)[None, :]
    if bias is not None:
        y += _vector(bias, channel, exists, bias_at)[None, :]
    if z is not None:
        if BEFORE_GATE:
            y = y * gate
    to = out + row.to(tl.int64)[:, None] * out_at[0] + channel.to(tl.int64)[None, :] * out_at[1]
    tl.store(to, y.to(out.dtype.element_ty), mask=live)


@triton.jit(do_not_specialize=["rows", "programs"])
def norm_backward(
    dout, x, weight, bias, z, dx, dweight, dbias, dz,
    dout_at, x_at, weight_at, bias_at, z_at, dx_at, dz_at, rows, size, groups, eps, programs,
    BEFORE_GATE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients; each program takes every ``programs``-th block of rows.

    :param dweight: float32 ``(programs, channels)``, to be summed; dbias alike.
    """
    item = tl.program_id(0)
    inside = tl.arange(0, BLOCK)
    exists = inside < size
    channel = item % groups * size + inside
    w = _vector(weight, channel, exists, weight_at)[None, :]
    sum_weight = tl.zeros([BLOCK], tl.float32)
    sum_bias = tl.zeros([BLOCK], tl.float32)
    for block in range(item // groups, tl.cdiv(rows, ROWS), programs):
        row = block * ROWS + tl.arange(0, ROWS)
        live = (row < rows)[:, None] & exists[None, :]
        at_row = row.to(tl.int64)[:, None]
        at_channel = channel.to(tl.int64)[None, :]
        grad = _tile(dout, row, channel, live, dout_at)
        value = _tile(x, row, channel, live, x_at)
        y = value
        if z is not None:
            gate = _tile(z, row, channel, live, z_at)
            if not BEFORE_GATE:
                y = value * silu(gate)
        inverse = tl.rsqrt(tl.sum(y * y, 1) / size + eps)[:, None]
        y = y * inverse
        if z is not None:
            if BEFORE_GATE:
                scaled = y * w
                if bias is not None:
                    scaled += _vector(bias, channel, exists, bias_at)[None, :]
                gradient = grad * scaled * silu_slope(gate)
                to = dz + at_row * dz_at[0] + at_channel * dz_at[1]
                tl.store(to, gradient.to(dz.dtype.element_ty), mask=live)
                grad = grad * silu(gate)
        sum_weight += tl.sum(grad * y, 0)
        sum_bias += tl.sum(grad, 0)
        grad = grad * w
        grad = (grad - y * (tl.sum(grad * y, 1) / size)[:, None]) * inverse
        if z is not None:
            if not BEFORE_GATE:
                gradient = grad * value * silu_slope(gate)
                to = dz + at_row * dz_at[0] + at_channel * dz_at[1]
                tl.store(to, gradient.to(dz.dtype.element_ty), mask=live)
                grad = grad * silu(gate)
        to = dx + at_row * dx_at[0] + at_channel * dx_at[1]
        tl.store(to, grad.to(dx.dtype.element_ty), mask=live)
    place = (item // groups).to(tl.int64) * (groups * size) + channel
    tl.store(dweight + place, sum_weight, mask=exists)
    if dbias is not None:
        tl.store(dbias + place, sum_bias, mask=exists)
