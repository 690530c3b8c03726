"""The short causal depth-wise convolution before the scan."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.ops import _checks as check
from mamba_kernels.ops._library import define, differentiated, features_of

ACTIVATIONS = (None, "silu", "swish")


def _state_shape(
    x: Tensor, weight: Tensor, order: Tensor | None, cu_seqlens: Tensor | None
) -> tuple[Any, ...]:
    rows = x.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    paths = () if order is None else (order.shape[-2],)
    return (rows, *paths, x.shape[-2], weight.shape[-1] - 1)


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    paths = () if order is None else (order.shape[-2],)
    out = x.new_empty((x.shape[0], *paths, *x.shape[-2:]))
    return out, x.new_empty(_state_shape(x, weight, order, cu_seqlens))


_op = define(
    "causal_conv1d",
    ("x", "weight", "bias?", "initial_states?"),
    ("str activation", "Tensor? order", "Tensor? seq_idx", "Tensor? cu_seqlens"),
    _fake,
)


def check_activation(op: str, activation: str | None) -> str:
    """``"silu"`` or ``""``; "swish" is another name of SiLU."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"{op}: activation must be None, 'silu' or 'swish', got {activation!r}")
    return "silu" if activation else ""


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    *,
    order: Tensor | None = None,
    seq_idx: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """``y_t = act(bias + sum_i weight_i x_{t - W + 1 + i})`` for each channel.

    Layout of the ``causal_conv1d`` package; any width, length, strides and floating dtype, summed
    in float32 (float64 for double inputs). With K ``order`` paths, "B, K" below; without one the K
    is absent. The convolution follows the order, so it makes K outputs.

    :param x: ``(B, D, L)``, or ``(B, K, D, L)`` with an order; in token order.
    :param weight: ``(D, W)`` or ``(K, D, W)``; the last column weighs the current token.
    :param bias: ``(D,)`` or ``(K, D)``.
    :param activation: None, ``"silu"`` or ``"swish"`` (the same).
    :param order: int64 ``(K, L)`` or ``(B, K, L)``; path k reads token ``order[k, t]`` at step t.
    :param seq_idx: int ``(B, L)``; the window restarts where it changes. Not with an order.
    :param cu_seqlens: int ``(S + 1,)``: edges of S packed sequences in a batch of 1. An order then
        keeps every sequence in its place.
    :param initial_states: the ``W - 1`` inputs before the first, ``(B, K, D, W - 1)``; zeros when
        None. With ``cu_seqlens`` S rows instead of B, with ``seq_idx`` for the first sequence.
    :param return_final_states: also return the last ``W - 1`` inputs.
    :returns: ``(B, K, D, L)`` in the dtype of ``x``, in token order, paths unmerged; and the final
        states, shaped like ``initial_states``. Both carry gradients.
    :raises ValueError, TypeError: for shapes, dtypes or devices that do not fit.
    """
    op = "causal_conv1d"
    given = {"x": x, "weight": weight, "bias": bias, "initial_states": initial_states}
    check.tensors(op, given, optional=("bias", "initial_states"), real=True)
    if x.dim() not in (3, 4) or (x.dim() == 4 and order is None):
        raise ValueError(
            f"{op}: x must have shape (B, D, L), or (B, K, D, L) with an order, got "
            f"{tuple(x.shape)}"
        )
    batch, channels, length = x.shape[0], x.shape[-2], x.shape[-1]
    check.order(op, order, batch, length, x.device)
    check.packing(op, cu_seqlens, batch, x.device)
    check.segments(op, seq_idx, x, length, order, cu_seqlens)
    paths: tuple[int, ...] = () if order is None else (order.shape[-2],)
    check.shape(op, "x", x, (batch, channels, length), (batch, *paths, channels, length))
    check.shape(op, "weight", weight, (channels, "W"), (*paths, channels, "W"))
    if weight.shape[-1] < 1:
        raise ValueError(
            f"{op}: weight must be at least one column wide, got {tuple(weight.shape)}"
        )
    check.shape(op, "bias", bias, (channels,), (*paths, channels))
    shape = _state_shape(x, weight, order, cu_seqlens)
    check.shape(op, "initial_states", initial_states, shape)
    act = check_activation(op, activation)
    tensors = (x, weight, bias, initial_states)
    keep = differentiated(*tensors)
    packed = cu_seqlens is not None or seq_idx is not None
    features = features_of(*tensors, keep=keep, order=order is not None, packed=packed)
    backend = backends.choose(op, x.device.type, x.dtype, tuple(features))
    out, last, _ = _op(*tensors, act, order, seq_idx, cu_seqlens, keep, backend)
    return (out, last) if return_final_states else out
