"""One or several steps of the scan by the compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_kernels.backends.layout import check_rows
from mamba_kernels.backends.native._abi import STEP, Packed, describe, plain
from mamba_kernels.backends.native._library import run

_packed = Packed(STEP)


def _by_head(t: Tensor | None, axis: int, width: int) -> tuple[int, ...]:
    """A tensor whose ``axis`` counts heads, and the next one their channels.

    Mamba-1 has channels only, at ``axis``: its groups are taken for heads of ``width`` channels.
    """
    if t is None or not width:
        return plain(t)
    address, dtype, *strides = plain(t)
    strides.insert(axis, strides[axis] * width)
    return (address, dtype, *strides[:-1])


def _group(t: Tensor, groups: int, several: bool) -> tuple[int, ...]:
    """B or C, ``(B, N)`` or ``(B, G, N)``, for several tokens with T behind, as (b, g, n, t)."""
    token = t.dim() - 1 if several else None
    if t.dim() == 2 + several:
        return describe(t, 0, None, 1, token)
    return describe(t, 0, 1 if t.shape[1] == groups else None, 2, token)


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
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    indices = state_batch_indices
    if indices is not None:
        check_rows(indices, state.shape[0])
        indices = indices.to(torch.int64).contiguous()
    tensors = (state, x, dt, z, out, A, B, C, D, dt_bias, indices)
    form = (x.shape, A.shape, B.shape, C.shape, dt_softplus)
    call = _packed(tensors, form, lambda: _pack(*tensors, dt_softplus))
    run("step", call, work=x.numel() * A.shape[-1])
    return out


def _pack(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    z: Tensor | None,
    out: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    dt_bias: Tensor | None,
    indices: Tensor | None,
    dt_softplus: bool,
) -> bytes:
    several, flat = x.dim() == state.dim(), state.dim() == 3
    groups = max(b.shape[1] if b.dim() == 3 + several else 1 for b in (B, C))
    channels = state.shape[1:-1]
    heads, width = (groups, channels[0] // groups) if flat else channels
    split = width if flat else 0
    fields = {
        "state": _by_head(state, 1, split),
        "x": _by_head(x, 1, split),
        "dt": _by_head(dt, 1, split),
        "z": _by_head(z, 1, split),
        "out": _by_head(out, 1, split),
        "A": _by_head(A, 0, split),
        "B": _group(B, groups, several),
        "C": _group(C, groups, several),
        "D": _by_head(D, 0, split),
        "dt_bias": _by_head(dt_bias, 0, split),
        "indices": plain(indices),
    }
    return STEP.pack(
        fields,
        batch=x.shape[0],
        heads=heads,
        groups=groups,
        width=width,
        states=A.shape[-1],
        tokens=x.shape[-1] if several else 1,
        softplus=dt_softplus,
    )
