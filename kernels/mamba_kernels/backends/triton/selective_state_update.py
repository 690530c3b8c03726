"""One or several steps of the scan, in place, in one launch."""

from __future__ import annotations

from torch import Tensor

from mamba_kernels.backends.layout import check_rows
from mamba_kernels.backends.triton.kernels.updates import state_update
from mamba_kernels.backends.triton.launch import fast, on_device, power_of_two

TILE = 1024  # elements of the state in one program


def _with_place(x: Tensor | None, heads: bool, at: int) -> tuple[int, ...]:
    """Strides of x; without heads every channel is a head with one place, dimension ``at``.

    What it lacks behind, such as the time of a single step, is 0.
    """
    if x is None:
        return (0, 0, 0, 0)
    stride = x.stride()
    return (*(stride if heads else (*stride[:at], 0, *stride[at:])), 0, 0)[:4]


@on_device
def update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    dt_softplus: bool,
    state_batch_indices: Tensor | None,
) -> Tensor:
    """The output; ``state`` is moved on in place."""
    if state_batch_indices is not None:
        check_rows(state_batch_indices, state.shape[0])
    heads, several = state.dim() == 4, x.dim() == state.dim()
    out, n = x.new_empty(x.shape), A.shape[-1]
    if out.numel() == 0:
        return out
    inner = x.shape[2] if heads else 1
    channels = x.shape[1] * inner
    columns = power_of_two(n)
    block = max(1, min(power_of_two(channels), TILE // columns))

    def grouped(t: Tensor) -> tuple[tuple[int, ...], int]:
        """Strides (batch, group, state, time), and heads or channels that share a group."""
        stride = t.stride() if several else (*t.stride(), 0)
        if len(stride) == 3:
            return (stride[0], 0, *stride[1:]), x.shape[1]
        return stride, x.shape[1] // t.shape[1]

    (B_at, B_share), (C_at, C_share) = grouped(B), grouped(C)
    state_update[(x.shape[0] * -(-channels // block),)](
        state, x, dt, A, B, C, D, z, dt_bias, state_batch_indices, out,
        _with_place(state, heads, 2), _with_place(x, heads, 2), _with_place(dt, heads, 2),
        _with_place(A, heads, 1), B_at, C_at, _with_place(D, heads, 1), _with_place(z, heads, 2),
        _with_place(dt_bias, heads, 1), _with_place(out, heads, 2),
        x.shape[-1] if several else 1, state.shape[0], channels, inner, B_share, C_share,
        N=n, COLUMNS=columns, BLOCK=block, SOFTPLUS=dt_softplus, FAST=fast(), num_warps=4,
    )  # fmt: skip
    return out
