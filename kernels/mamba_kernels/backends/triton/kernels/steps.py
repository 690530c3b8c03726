"""Rows of several time steps at once: tuples with one vector of channels per step.

Tuples are unrolled by the compiler, so every step stays in registers. Where time is contiguous in
memory and nothing permutes it, one wide access per channel fetches all steps (``TILED``); else each
step is an access of its own, contiguous along the channels when the tensor is.
"""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import softplus


@triton.jit
def tokens_of(order, first, end, stride, STEPS: tl.constexpr):
    """The token that is read at each of the steps ``first ...``, as int64 scalars.

    Steps behind the end read the last token again: a load without a mask is shorter, and what they
    read is not used, or used with a step size of zero.
    """
    tokens = ()
    for j in tl.static_range(STEPS):
        t = tl.maximum(tl.minimum(first + j, end - 1), 0).to(tl.int64)
        if order is not None:
            t = tl.load(order + t * stride).to(tl.int64)
        tokens = tokens + (t,)
    return tokens


@triton.jit
def _columns(tile, BLOCK: tl.constexpr, STEPS: tl.constexpr):
    """``[BLOCK, STEPS]`` -> STEPS vectors, by halving."""
    parts = (tile,)
    for level in tl.static_range(4):
        if (STEPS >> level) > 1:
            halves = ()
            for i in tl.static_range(1 << level):
                pair = tl.reshape(parts[i], [BLOCK, 2, (STEPS >> level) // 2])
                a, b = tl.split(tl.trans(pair, (0, 2, 1)))
                halves = halves + (a, b)
            parts = halves
    vectors = ()
    for i in tl.static_range(STEPS):
        vectors = vectors + (tl.reshape(parts[i], [BLOCK]),)
    return vectors


@triton.jit
def _tile(rows, BLOCK: tl.constexpr, STEPS: tl.constexpr):
    """The inverse of :func:`_columns`."""
    parts = ()
    for i in tl.static_range(STEPS):
        parts = parts + (tl.reshape(rows[i], [BLOCK, 1]),)
    for level in tl.static_range(4):
        if (STEPS >> level) > 1:
            merged = ()
            for i in tl.static_range((STEPS >> level) // 2):
                pair = tl.trans(tl.join(parts[2 * i], parts[2 * i + 1]), (0, 2, 1))
                merged = merged + (tl.reshape(pair, [BLOCK, 2 << level]),)
            parts = merged
    return parts[0]


@triton.jit
def load_steps(
    base, tokens, first, end, stride,
    BLOCK: tl.constexpr, STEPS: tl.constexpr, TILED: tl.constexpr,
):  # fmt: skip
    """Values of STEPS steps; behind ``end`` something of the same sequence.

    :param base: pointers ``[BLOCK]`` to the token 0 of each channel, all of them valid.
    :param stride: from one token to the next; 1 when ``TILED``.
    """
    rows = ()
    if TILED:  # `end` is then a multiple of STEPS
        start = tl.minimum(first, end - STEPS).to(tl.int64)
        tile = tl.load(base[:, None] + (start + tl.arange(0, STEPS))[None, :])
        rows = _columns(tile, BLOCK, STEPS)
    else:
        for j in tl.static_range(STEPS):
            rows = rows + (tl.load(base + tokens[j] * stride),)
    return rows


@triton.jit
def store_steps(
    base, rows, tokens, first, end, stride, live,
    BLOCK: tl.constexpr, STEPS: tl.constexpr, TILED: tl.constexpr,
):  # fmt: skip
    """Store the rows of the steps before ``end`` for the ``live`` channels."""
    if TILED:
        at = base[:, None] + (first.to(tl.int64) + tl.arange(0, STEPS))[None, :]
        tl.store(at, _tile(rows, BLOCK, STEPS).to(base.dtype.element_ty), mask=live[:, None])
    else:
        for j in tl.static_range(STEPS):
            at = base + tokens[j] * stride
            tl.store(at, rows[j].to(base.dtype.element_ty), mask=live & (first + j < end))


@triton.jit
def step_size(delta, shift, late, SOFTPLUS: tl.constexpr, RAGGED: tl.constexpr, FAST: tl.constexpr):
    """The step size from its input; zero when ``late``, behind the end: the state stands still.

    :param RAGGED: whether it may be late.
    """
    dt = delta.to(tl.float32) + shift
    if SOFTPLUS:
        dt = softplus(dt, FAST)
    if RAGGED:
        dt = tl.where(late, 0.0, dt)
    return dt
