"""The scan of Mamba-2: state space duality (SSD), one decay per head and step."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.backends.layout import working_dtype
from mamba_kernels.ops import _checks as check
from mamba_kernels.ops._library import define, differentiated, features_of


def _paths(order: Tensor | None) -> tuple[Any, ...]:
    return () if order is None else (order.shape[-2],)


def _state_shape(
    x: Tensor, B: Tensor, order: Tensor | None, cu_seqlens: Tensor | None
) -> tuple[Any, ...]:
    rows = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    return (rows, *_paths(order), *x.shape[-2:], B.shape[-1])


def _fake(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    chunk_size: int,
    dt_softplus: bool,
    dt_min: float,
    dt_max: float,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    dtype = working_dtype(x, dt, A, B, C, initial_states)
    out = x.new_empty((x.shape[0], *_paths(order), *x.shape[-3:]))
    return out, x.new_empty(_state_shape(x, B, order, cu_seqlens), dtype=dtype)


_op = define(
    "ssd",
    ("x", "dt", "A", "B", "C", "D?", "z?", "dt_bias?", "initial_states?"),
    (
        "int chunk_size",
        "bool dt_softplus",
        "float dt_min",
        "float dt_max",
        "Tensor? order",
        "Tensor? seq_idx",
        "Tensor? cu_seqlens",
    ),
    _fake,
)


def _check(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_limit: tuple[float, float],
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
    initial_states: Tensor | None,
) -> None:
    op = "ssd"
    given = {"x": x, "dt": dt, "A": A, "B": B, "C": C, "D": D, "z": z}
    given |= {"dt_bias": dt_bias, "initial_states": initial_states}
    check.tensors(op, given, optional=("D", "z", "dt_bias", "initial_states"))
    for name, value in given.items():
        if value is not None and value.is_complex():
            raise TypeError(f"{op}: {name} is complex, SSD is real: use selective_scan")
    if x.dim() not in (4, 5) or (x.dim() == 5 and order is None):
        raise ValueError(
            f"{op}: x must have shape (B, L, H, P), or (B, K, L, H, P) with an order, got "
            f"{tuple(x.shape)}"
        )
    if chunk_size < 1:
        raise ValueError(f"{op}: chunk_size must be at least 1, got {chunk_size}")
    if not 0 <= dt_limit[0] <= dt_limit[1]:
        raise ValueError(f"{op}: dt_limit must be 0 <= low <= high, got {tuple(dt_limit)}")
    batch, (length, heads, p) = x.shape[0], x.shape[-3:]
    check.order(op, order, batch, length, x.device)
    check.packing(op, cu_seqlens, batch, x.device)
    check.segments(op, seq_idx, x, length, order, cu_seqlens)
    paths = _paths(order)
    shared, per_path = (batch, length, heads, p), (batch, *paths, length, heads, p)
    check.shape(op, "x", x, shared, per_path)
    check.shape(op, "z", z, shared, per_path)
    check.shape(op, "dt", dt, per_path[:-1])
    check.shape(op, "A", A, (heads,), (*paths, heads))
    check.shape(op, "dt_bias", dt_bias, (heads,), (*paths, heads))
    check.shape(op, "D", D, (heads,), (heads, p), (*paths, heads, p))
    n = B.shape[-1] if B.dim() else 0
    for name, value in (("B", B), ("C", C)):
        check.shape(op, name, value, (*per_path[:-2], "G", n))
        if value.shape[-2] < 1 or heads % value.shape[-2]:
            raise ValueError(
                f"{op}: {name} has {value.shape[-2]} groups, which do not divide the {heads} heads"
            )
    groups = {B.shape[-2], C.shape[-2]} - {1}
    if len(groups) > 1:
        raise ValueError(f"{op}: B and C must have the same number of groups, got {sorted(groups)}")
    check.shape(op, "initial_states", initial_states, _state_shape(x, B, order, cu_seqlens))


def ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    chunk_size: int,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    *,
    order: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """``h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T``, ``y_t = h_t C_t + D x_t``, times SiLU(z).

    Names and layouts are those of ``mamba_ssm`` (Dao & Gu 2024, arXiv 2405.21060). Any floating
    dtype, strides and length; A, the step sizes and the states are float32 (float64 for double
    inputs). With K ``order`` paths, "B, K" below; without one the K is absent.

    :param x: ``(B, L, H, P)``, or ``(B, K, L, H, P)`` with an order; in token order.
    :param dt: step sizes ``(B, K, L, H)`` before bias, softplus and limit.
    :param A: ``(H,)`` or ``(K, H)``, negative.
    :param B: ``(B, K, L, G, N)``; G groups divide the heads.
    :param C: like B.
    :param chunk_size: a hint; the result does not depend on it.
    :param D: skip weights ``(H,)``, ``(H, P)`` or ``(K, H, P)``.
    :param z: gate, shaped like ``x``.
    :param dt_bias: ``(H,)`` or ``(K, H)``, added to ``dt``.
    :param dt_softplus: whether softplus follows the bias.
    :param dt_limit: the finished step sizes are clamped into this range.
    :param order: int64 ``(K, L)`` or ``(B, K, L)``; path k reads token ``order[k, t]`` at step t.
    :param seq_idx: int ``(B, L)``; the state restarts where it changes. Not with an order.
    :param cu_seqlens: int ``(S + 1,)``: edges of S packed sequences in a batch of 1. An order then
        keeps every sequence in its place.
    :param initial_states: ``(B, K, H, P, N)``; with ``cu_seqlens`` S rows instead of B, with
        ``seq_idx`` for the first sequence of each row.
    :param return_final_states: also return the states after the last step.
    :returns: ``(B, K, L, H, P)`` in the dtype of ``x``, in token order, paths unmerged; and the
        final states, shaped like ``initial_states``. Both carry gradients.
    :raises ValueError, TypeError: for shapes, dtypes or devices that do not fit.
    """
    _check(
        x, dt, A, B, C, chunk_size, D, z, dt_bias, dt_limit, order, seq_idx, cu_seqlens,
        initial_states,
    )  # fmt: skip
    tensors = (x, dt, A, B, C, D, z, dt_bias, initial_states)
    keep = differentiated(*tensors)
    packed = cu_seqlens is not None or seq_idx is not None
    features = features_of(*tensors, keep=keep, order=order is not None, packed=packed)
    backend = backends.choose("ssd", x.device.type, x.dtype, tuple(features))
    low, high = float(dt_limit[0]), float(dt_limit[1])
    out, last, _ = _op(
        *tensors, chunk_size, dt_softplus, low, high, order, seq_idx, cu_seqlens, keep, backend
    )
    return (out, last) if return_final_states else out
