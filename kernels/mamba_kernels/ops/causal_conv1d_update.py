"""One or several steps of the causal convolution, for decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.ops import _checks as check
from mamba_kernels.ops._library import define_update, features_of, refuse_gradient
from mamba_kernels.ops.causal_conv1d import check_activation


def _fake(x: Tensor, conv_state: Tensor, *rest: object) -> Tensor:
    return x.new_empty(x.shape)


_op = define_update(
    "causal_conv1d_update",
    "Tensor x, Tensor(a!) conv_state, Tensor weight, Tensor? bias, str activation, "
    "Tensor? state_batch_indices",
    _fake,
)


@check.once
def _checked(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    state_batch_indices: Tensor | None,
) -> tuple[str, ...]:
    """The features of a call; raises for what does not fit."""
    op = "causal_conv1d_update"
    given = {"x": x, "conv_state": conv_state, "weight": weight, "bias": bias}
    check.tensors(op, given, optional=("bias",), real=True)
    if x.dim() not in (2, 3):
        raise ValueError(f"{op}: x must have shape (B, D) or (B, D, T), got {tuple(x.shape)}")
    batch, channels = x.shape[:2]
    check.shape(op, "weight", weight, (channels, "W"))
    check.shape(op, "bias", bias, (channels,))
    rows: int | str = batch
    if state_batch_indices is not None:
        check.indices(op, "state_batch_indices", state_batch_indices, batch, x.device)
        rows = "rows"
    check.shape(op, "conv_state", conv_state, (rows, channels, "W - 1 or more"))
    width = weight.shape[-1]
    if width < 1 or conv_state.shape[-1] < width - 1:
        raise ValueError(
            f"{op}: a kernel of width {width} needs its last {width - 1} inputs, conv_state holds "
            f"{conv_state.shape[-1]}"
        )
    return tuple(features_of(x, conv_state, weight))


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    *,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """The next outputs of :func:`causal_conv1d`, and ``conv_state`` moved on in place.

    Layout of the ``causal_conv1d`` package. Summed in float32 (float64 for double inputs). Has no
    gradient: asking for one is an error.

    :param x: next inputs, ``(B, D)`` or ``(B, D, T)``.
    :param conv_state: the last inputs before them, ``(B, D, W - 1)`` or longer, newest last;
        changed in place.
    :param weight: ``(D, W)``; the last column weighs the current token.
    :param bias: ``(D,)``.
    :param activation: None, ``"silu"`` or ``"swish"`` (the same).
    :param state_batch_indices: int ``(B,)``: row of ``conv_state`` of each batch item, no row
        twice; ``conv_state`` may then have any number of rows. The package, which calls it
        ``conv_state_indices``, has ``cache_seqlens`` in this place: hence by name only.
    :returns: a tensor like ``x``.
    :raises ValueError, TypeError: for shapes, dtypes or devices that do not fit.
    """
    features = _checked(x, conv_state, weight, bias, state_batch_indices)
    act = check_activation("causal_conv1d_update", activation)
    backend = backends.choose("causal_conv1d_update", x.device.type, x.dtype, features)
    out = _op(x, conv_state, weight, bias, act, state_batch_indices, backend)
    if torch.is_grad_enabled():
        tensors = (x, conv_state, weight, bias)
        return refuse_gradient("causal_conv1d_update", "causal_conv1d", out, *tensors)
    return out
