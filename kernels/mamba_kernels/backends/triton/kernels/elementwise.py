"""Scalar functions, in float32, in base two: ``exp2`` is one instruction, ``exp`` is several."""

from __future__ import annotations

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def exp(x):
    """e to the x."""
    return tl.exp2(x * LOG2E)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)); for very negative x the exponential is infinite and the result 0."""
    return 1.0 / (1.0 + exp(-x))


@triton.jit
def silu(x):
    """x sigmoid(x)."""
    return x * sigmoid(x)


@triton.jit
def silu_slope(x):
    """Derivative of :func:`silu`."""
    s = sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


@triton.jit
def softplus(x, FAST: tl.constexpr):
    """log(1 + exp(x)) as PyTorch has it: x itself above 20.

    Below exp(x) = 1/8 by its series, because there 1 + exp(x) loses what makes the result.

    :param FAST: use NVIDIA's approximate logarithm (absolute error 2^-22), else ``tl.log2``.
    """
    e = exp(tl.minimum(x, 20.0))
    if FAST:
        log = tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [1.0 + e], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        log = tl.log2(1.0 + e)
    p = 1.0 / 6 - e * (1.0 / 7)
    p = 1.0 / 5 - e * p
    p = 1.0 / 4 - e * p
    p = 1.0 / 3 - e * p
    p = 1.0 / 2 - e * p
    small = e - e * e * p
    return tl.where(x > 20.0, x, tl.where(e < 0.125, small, log * LN2))
