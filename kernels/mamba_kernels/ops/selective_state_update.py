"""One or several steps of the selective scan or of SSD, for decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_kernels import backends
from mamba_kernels.ops import _checks as check
from mamba_kernels.ops._library import define_update, features_of, refuse_gradient


def _fake(state: Tensor, x: Tensor, *rest: object) -> Tensor:
    return x.new_empty(x.shape)


_op = define_update(
    "selective_state_update",
    "Tensor(a!) state, Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, "
    "Tensor? dt_bias, bool dt_softplus, Tensor? state_batch_indices",
    _fake,
)


@check.once
def _checked(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    state_batch_indices: Tensor | None,
) -> tuple[str, ...]:
    """The features of a call; raises for what does not fit."""
    op = "selective_state_update"
    given: dict[str, Tensor | None] = {"state": state, "x": x, "dt": dt, "A": A, "B": B, "C": C}
    given |= {"D": D, "z": z, "dt_bias": dt_bias}
    check.tensors(op, given, optional=("D", "z", "dt_bias"), real=True)
    if state.dim() not in (3, 4):
        raise ValueError(
            f"{op}: state must have shape (B, D, N) or (B, H, P, N), got {tuple(state.shape)}"
        )
    inner = "D" if state.dim() == 3 else "H, P"
    if x.dim() not in (state.dim() - 1, state.dim()):
        raise ValueError(
            f"{op}: x must have shape (B, {inner}) or, for several tokens, (B, {inner}, T) beside "
            f"a state (B, {inner}, N), got {tuple(x.shape)}"
        )
    batch, channels, tokens = x.shape[0], x.shape[1 : state.dim() - 1], x.shape[state.dim() - 1 :]
    n = A.shape[-1] if A.dim() else 0
    rows: int | str = batch
    if state_batch_indices is not None:
        check.indices(op, "state_batch_indices", state_batch_indices, batch, x.device)
        rows = "rows"
    check.shape(op, "A", A, (*channels, n))
    check.shape(op, "state", state, (rows, *channels, n))
    for name, value in (("dt", dt), ("z", z)):
        check.shape(op, name, value, x.shape)
    for name, value in (("D", D), ("dt_bias", dt_bias)):
        check.shape(op, name, value, channels)
    for name, value in (("B", B), ("C", C)):
        check.shape(op, name, value, (batch, n, *tokens), (batch, "G", n, *tokens))
        grouped = value.dim() == 3 + len(tokens)
        if grouped and (value.shape[1] < 1 or channels[0] % value.shape[1]):
            raise ValueError(
                f"{op}: {name} has {value.shape[1]} groups, which do not divide {channels[0]} "
                f"{'heads' if len(channels) == 2 else 'channels'}"
            )
    groups = {value.shape[1] for value in (B, C) if value.dim() == 3 + len(tokens)} - {1}
    if len(groups) > 1:
        raise ValueError(f"{op}: B and C must have the same number of groups, got {sorted(groups)}")
    return tuple(features_of(state, x, dt, A))


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """``state = exp(dt A) state + dt x B`` in place; returns ``state C + D x``, times SiLU(z).

    Layout of ``mamba_ssm``. Computed in float32 (float64 for double inputs), whatever the dtypes.
    Has no gradient: asking for one is an error.

    Several tokens come as a last dimension T of x, dt, B, C and z, as in
    :func:`~mamba_kernels.ops.causal_conv1d_update`: T calls in one, but that a state in half
    precision is rounded once, at the end.

    :param state: ``(B, D, N)``, or ``(B, H, P, N)`` with heads; changed in place.
    :param x: ``(B, D)`` or ``(B, H, P)``; for several tokens ``(B, D, T)`` or ``(B, H, P, T)``.
    :param dt: step sizes, shaped like ``x``, before bias and softplus.
    :param A: ``(D, N)`` or ``(H, P, N)``, real.
    :param B: ``(B, N)``, or ``(B, G, N)`` for G groups of channels or heads; for several tokens
        ``(B, N, T)`` or ``(B, G, N, T)``.
    :param C: like B.
    :param D: ``(D,)`` or ``(H, P)``.
    :param z: gate, shaped like ``x``.
    :param dt_bias: ``(D,)`` or ``(H, P)``.
    :param dt_softplus: whether softplus follows the bias.
    :param state_batch_indices: int ``(B,)``: row of ``state`` of each batch item, no row twice;
        ``state`` may then have any number of rows.
    :returns: a tensor like ``x``.
    :raises ValueError, TypeError: for shapes, dtypes or devices that do not fit.
    """
    features = _checked(state, x, dt, A, B, C, D, z, dt_bias, state_batch_indices)
    backend = backends.choose("selective_state_update", x.device.type, x.dtype, features)
    out = _op(state, x, dt, A, B, C, D, z, dt_bias, dt_softplus, state_batch_indices, backend)
    if torch.is_grad_enabled():
        tensors = (state, x, dt, A, B, C, D, z, dt_bias)
        return refuse_gradient("selective_state_update", "selective_scan or ssd", out, *tensors)
    return out
