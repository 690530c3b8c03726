"""What the kernels of SSD share: where a chunk of time lies, and its step sizes."""

from __future__ import annotations

import triton
import triton.language as tl

from mamba_kernels.backends.triton.kernels.elementwise import LOG2E, softplus
from mamba_kernels.backends.triton.kernels.sequences import row_of_slot, sequence


@triton.jit
def chunk_of_slot(slot, cu_seqlens, length, rows, CHUNK: tl.constexpr):
    """Batch item, and first and one-past-last step of the chunk in a slot."""
    row, number = row_of_slot(slot, cu_seqlens, length, rows, CHUNK)
    batch, first, end, _ = sequence(row, cu_seqlens, length, CHUNK)
    start = tl.minimum(first + number * CHUNK, end)
    return batch, start, tl.minimum(end, start + CHUNK)


@triton.jit
def read_tokens(order, start, end, stride, CHUNK: tl.constexpr):
    """Tokens ``[CHUNK]`` of the steps, the last one again behind the end."""
    t = tl.maximum(tl.minimum(start + tl.arange(0, CHUNK), end - 1), 0).to(tl.int64)
    if order is not None:
        t = tl.load(order + t * stride).to(tl.int64)
    return t


@triton.jit
def step_sizes(
    base, tokens, live, stride, shift, low, high, SOFTPLUS: tl.constexpr, FAST: tl.constexpr
):
    """Step sizes before and after softplus and limits; the latter are zero where not ``live``."""
    raw = tl.load(base + tokens * stride).to(tl.float32) + shift
    dt = raw
    if SOFTPLUS:
        dt = softplus(raw, FAST)
    free = (dt >= low) & (dt <= high)
    dt = tl.where(live, tl.minimum(tl.maximum(dt, low), high), 0.0)
    return raw, dt, free


@triton.jit
def scalar(x, path, head, at):
    """``x[path, head]`` in float32, zero when x is absent."""
    if x is None:
        return tl.zeros((), tl.float32)
    return tl.load(x + path * at[0] + head * at[1]).to(tl.float32)


@triton.jit
def rate(A, path, head, at):
    """A in base two."""
    return tl.load(A + path * at[0] + head * at[1]).to(tl.float32) * LOG2E


@triton.jit
def tile(base, tokens, live, stride, inner, size: tl.constexpr, BLOCK: tl.constexpr, inner_at):
    """``[CHUNK, BLOCK]`` values of the tokens in float32, zero where there is none.

    :param inner: first of the inner indices.
    """
    i = (inner + tl.arange(0, BLOCK)).to(tl.int64)
    at = base + tokens[:, None] * stride + i[None, :] * inner_at
    value = tl.load(at, mask=live[:, None] & (i < size)[None, :], other=0.0)
    return value.to(tl.float32)
