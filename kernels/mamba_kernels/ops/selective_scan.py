"""The selective scan of Mamba-1 (S6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.backends.layout import working_dtype
from mamba_kernels.ops import _checks as check
from mamba_kernels.ops._library import define, differentiated, features_of


def _state_shape(
    u: Tensor, A: Tensor, order: Tensor | None, cu_seqlens: Tensor | None
) -> tuple[Any, ...]:
    rows = u.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    paths = () if order is None else (order.shape[-2],)
    return (rows, *paths, A.shape[-2], A.shape[-1])


def _fake(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    dtype = working_dtype(u, delta, A, B, C, initial_state)
    out = u.new_empty(delta.shape)
    state_dtype = dtype.to_complex() if A.is_complex() else dtype
    return out, u.new_empty(_state_shape(u, A, order, cu_seqlens), dtype=state_dtype)


_op = define(
    "selective_scan",
    ("u", "delta", "A", "B", "C", "D?", "z?", "delta_bias?", "initial_state?"),
    ("bool delta_softplus", "Tensor? order", "Tensor? cu_seqlens"),
    _fake,
)


def _check_complex(op: str, given: Mapping[str, Tensor | None]) -> None:
    """Only A, the state, and B and C that do not change over time may be complex."""
    A = given["A"]
    assert A is not None
    for name, value in given.items():
        if value is None or not value.is_complex() or name == "A":
            continue
        if name not in ("B", "C", "initial_state"):
            raise TypeError(f"{op}: {name} must be real, got {value.dtype}")
        if not A.is_complex():
            raise TypeError(f"{op}: {name} is complex and A is not: make A complex or {name} real")
        if name != "initial_state" and value.dim() > 2:
            raise TypeError(
                f"{op}: {name} over time must be pairs of real and imaginary part along the "
                f"length: pass torch.view_as_real({name}).flatten(-2)"
            )


def _check(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    op = "selective_scan"
    given: dict[str, Tensor | None] = {"u": u, "delta": delta, "A": A, "B": B, "C": C}
    given |= {"D": D, "z": z, "delta_bias": delta_bias, "initial_state": initial_state}
    check.tensors(op, given, optional=("D", "z", "delta_bias", "initial_state"))
    _check_complex(op, given)
    if u.dim() not in (3, 4) or (u.dim() == 4 and order is None):
        raise ValueError(
            f"{op}: u must have shape (B, D, L), or (B, K, D, L) with an order, got "
            f"{tuple(u.shape)}"
        )
    batch, channels, length = u.shape[0], u.shape[-2], u.shape[-1]
    check.order(op, order, batch, length, u.device)
    check.packing(op, cu_seqlens, batch, u.device)
    paths: tuple[int, ...] = () if order is None else (order.shape[-2],)
    per_path = (batch, *paths, channels, length)
    check.shape(op, "u", u, (batch, channels, length), per_path)
    check.shape(op, "delta", delta, per_path)
    check.shape(op, "z", z, (batch, channels, length), per_path)
    check.shape(op, "A", A, (channels, "N"), (*paths, channels, "N"))
    for name, value in (("D", D), ("delta_bias", delta_bias)):
        check.shape(op, name, value, (channels,), (*paths, channels))
    n = A.shape[-1]
    steps = 2 * length if A.is_complex() else length
    for name, value in (("B", B), ("C", C)):
        over_time = (batch, *paths, n, steps)
        by_group: tuple[int | str, ...] = (batch, *paths, "G", n, steps)
        check.shape(op, name, value, (channels, n), over_time, by_group)
        if value.dim() == len(per_path) + 1 and (value.shape[-3] < 1 or channels % value.shape[-3]):
            raise ValueError(
                f"{op}: {name} has {value.shape[-3]} groups, which do not divide the {channels} "
                "channels"
            )
    groups = {x.shape[-3] for x in (B, C) if x.dim() == len(per_path) + 1} - {1}
    if len(groups) > 1:
        raise ValueError(f"{op}: B and C must have the same number of groups, got {sorted(groups)}")
    check.shape(op, "initial_state", initial_state, _state_shape(u, A, order, cu_seqlens))


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    *,
    order: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    initial_state: Tensor | None = None,
    return_last_state: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """``h_t = exp(dt_t A) h_{t-1} + dt_t u_t B_t``, ``y_t = C_t h_t + D u_t``, gated by SiLU(z).

    Names and layouts are those of ``mamba_ssm`` (Gu & Dao 2023, arXiv 2312.00752). Any floating
    dtype and any strides; A, the step sizes and the state are float32 (float64 for double inputs).
    With K ``order`` paths, "B, K" below; without one the K is absent.

    :param u: ``(B, D, L)``, or ``(B, K, D, L)`` with an order; in token order.
    :param delta: step sizes ``(B, K, D, L)`` before bias and softplus.
    :param A: ``(D, N)`` or ``(K, D, N)``; real or complex, negative real part.
    :param B: ``(B, K, N, L)``, ``(B, K, G, N, L)`` for G groups of channels, or ``(D, N)``.
        For complex A, ``2L`` instead of L: pairs of real and imaginary part.
    :param C: like B.
    :param D: skip weights ``(D,)`` or ``(K, D)``.
    :param z: gate, shaped like ``u``.
    :param delta_bias: ``(D,)`` or ``(K, D)``, added to ``delta``.
    :param delta_softplus: whether softplus follows the bias.
    :param order: int64 ``(K, L)`` or ``(B, K, L)``; path k reads token ``order[k, t]`` at step t.
    :param cu_seqlens: int ``(S + 1,)``: edges of S packed sequences in a batch of 1. An order then
        keeps every sequence in its place.
    :param initial_state: ``(B, K, D, N)``; with ``cu_seqlens`` S rows instead of B.
    :param return_last_state: also return the state after the last step.
    :returns: ``(B, K, D, L)`` in the dtype of ``u``, in token order, paths unmerged; and the last
        state, shaped like ``initial_state``. Both carry gradients, to ``initial_state`` too.
    :raises ValueError, TypeError: for shapes, dtypes or devices that do not fit.
    """
    _check(u, delta, A, B, C, D, z, delta_bias, initial_state, order, cu_seqlens)
    tensors = (u, delta, A, B, C, D, z, delta_bias, initial_state)
    keep = differentiated(*tensors)
    features = features_of(
        *tensors, keep=keep, order=order is not None, packed=cu_seqlens is not None
    )
    if A.is_complex():
        features.append("complex")
    if B.dim() == 2 or C.dim() == 2:
        features.append("constant")
    backend = backends.choose("selective_scan", u.device.type, u.dtype, tuple(features))
    out, last, _ = _op(*tensors, delta_softplus, order, cu_seqlens, keep, backend)
    return (out, last) if return_last_state else out
