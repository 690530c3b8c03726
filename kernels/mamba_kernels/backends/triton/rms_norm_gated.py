"""Gated RMS norm: one kernel forward and one backward, which keeps only the inputs.

Leading dimensions that cannot be seen as one are copied together; others are read where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mamba_kernels.backends.triton.kernels.gated_norm import norm_backward, norm_forward
from mamba_kernels.backends.triton.launch import on_device, power_of_two

TILE = 4096  # elements of a program's tile, where a group is no larger
PROGRAMS = 256  # of backward; each sums the weights' gradients over its own rows


def _shape(rows: int, size: int, per_warp: int) -> dict[str, int]:
    """Tile of a program, and its warps for ``per_warp`` elements each."""
    block = power_of_two(size)
    count = max(1, min(TILE // block, power_of_two(rows), 32))
    return {"ROWS": count, "BLOCK": block, "num_warps": max(1, min(16, count * block // per_warp))}


@on_device
def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None,
    eps: float,
    group_size: int,
    norm_before_gate: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs; there is no state and nothing kept for backward."""
    out, nothing = x.new_empty(x.shape), x.new_empty(0)
    if out.numel() == 0:
        return out, nothing, nothing.clone()
    channels = x.shape[-1]
    flat, gate = x.reshape(-1, channels), None if z is None else z.reshape(-1, channels)
    rows, groups = flat.shape[0], channels // group_size
    shape = _shape(rows, group_size, 1024)
    norm_forward[(-(-rows // shape["ROWS"]) * groups,)](
        flat, weight, bias, gate, out,
        flat.stride(), weight.stride(0), _stride(bias), _strides(gate), (channels, 1),
        rows, group_size, groups, eps, BEFORE_GATE=norm_before_gate, **shape,
    )  # fmt: skip
    return out, nothing, nothing.clone()


def _stride(x: Tensor | None) -> int:
    return 0 if x is None else x.stride(0)


def _strides(x: Tensor | None) -> tuple[int, ...]:
    return (0, 0) if x is None else x.stride()


@on_device
def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None,
    eps: float,
    group_size: int,
    norm_before_gate: bool,
) -> list[Tensor | None]:
    """Gradients of the four tensor inputs."""
    if dout is None or x.numel() == 0:
        return [None] * 4
    channels = x.shape[-1]
    flat, gate = x.reshape(-1, channels), None if z is None else z.reshape(-1, channels)
    grad = dout.reshape(-1, channels)
    rows, groups = flat.shape[0], channels // group_size
    shape = _shape(rows, group_size, 512)
    programs = min(PROGRAMS, -(-rows // shape["ROWS"]))
    dx = x.new_empty(x.shape)
    dz = None if z is None else z.new_empty(z.shape)
    dweight = x.new_empty((programs, channels), dtype=torch.float32)
    dbias = None if bias is None else torch.empty_like(dweight)
    norm_backward[(programs * groups,)](
        grad, flat, weight, bias, gate, dx, dweight, dbias, dz,
        grad.stride(), flat.stride(), weight.stride(0), _stride(bias), _strides(gate),
        (channels, 1), (channels, 1), rows, group_size, groups, eps, programs,
        BEFORE_GATE=norm_before_gate, **shape,
    )  # fmt: skip
    return [dx, dweight.sum(0), None if dbias is None else dbias.sum(0), dz]
