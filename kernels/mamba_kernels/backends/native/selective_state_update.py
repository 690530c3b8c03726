"""One step of the scan by the compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_kernels.backends.native._abi import STEP, describe, plain
from mamba_kernels.backends.native._library import run


def _heads(t: Tensor | None, groups: int, axis: int) -> Tensor | None:
    """Channels, at ``axis``, as heads of channels: the groups of Mamba-1 are its heads."""
    return None if t is None else t.unflatten(axis, (groups, t.shape[axis] // groups))


def _group(t: Tensor, groups: int) -> tuple[int, ...]:
    """B or C, ``(B, N)`` or ``(B, G, N)``, as (b, g, n)."""
    if t.dim() == 2:
        return describe(t, 0, None, 1)
    return describe(t, 0, 1 if t.shape[1] == groups else None, 2)


def _parameter(t: Tensor | None) -> tuple[int, ...]:
    return describe(t, None, 0, 1)


def _checked(indices: Tensor | None, rows: int) -> Tensor | None:
    if indices is None:
        return None
    indices = indices.to(torch.int64).contiguous()
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < rows:
        raise IndexError(
            f"selective_state_update: state_batch_indices must lie in 0..{rows - 1}, the rows of "
            f"state, got {indices.tolist()}"
        )
    return indices


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
    out = x.new_empty(x.shape)
    groups = max(b.shape[1] if b.dim() == 3 else 1 for b in (B, C))
    result: Tensor | None = out
    if x.dim() == 2:
        state, x, dt, A = (
            t.unflatten(axis, (groups, -1)) for t, axis in ((state, 1), (x, 1), (dt, 1), (A, 0))
        )
        D, dt_bias = _heads(D, groups, 0), _heads(dt_bias, groups, 0)
        z, result = _heads(z, groups, 1), _heads(out, groups, 1)
    indices = _checked(state_batch_indices, state.shape[0])
    fields = {
        "state": plain(state),
        "x": plain(x),
        "dt": plain(dt),
        "z": plain(z),
        "out": plain(result),
        "A": plain(A),
        "B": _group(B, groups),
        "C": _group(C, groups),
        "D": _parameter(D),
        "dt_bias": _parameter(dt_bias),
        "indices": plain(indices),
    }
    call = STEP.pack(
        fields,
        batch=x.shape[0],
        heads=x.shape[1],
        groups=groups,
        width=x.shape[2],
        states=A.shape[2],
        softplus=dt_softplus,
    )
    run("step", call, work=x.numel() * A.shape[2])
    return out
