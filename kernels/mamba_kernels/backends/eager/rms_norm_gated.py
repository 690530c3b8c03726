"""Gated RMS norm with its own backward, which keeps only the inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import working_dtype


def _normed(y: Tensor, eps: float, group_size: int) -> tuple[Tensor, Tensor]:
    """y / rms(y) per group, and 1 / rms ``(..., groups, 1)``."""
    groups = y.unflatten(-1, (y.shape[-1] // group_size, group_size))
    inverse = torch.rsqrt(groups.square().mean(-1, keepdim=True) + eps)
    return (groups * inverse).flatten(-2), inverse


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
    dtype = working_dtype(x, weight)
    gate = None if z is None else F.silu(z.to(dtype))
    y = x.to(dtype)
    if gate is not None and not norm_before_gate:
        y = y * gate
    y, _ = _normed(y, eps, group_size)
    y = y * weight.to(dtype)
    if bias is not None:
        y += bias.to(dtype)
    if gate is not None and norm_before_gate:
        y *= gate
    return y.to(x.dtype).contiguous(), x.new_empty(0), x.new_empty(0)


def _gate_gradient(z: Tensor, grad: Tensor) -> Tensor:
    """``grad`` by SiLU(z) -> by z."""
    sigma = z.sigmoid()
    return grad * sigma * (1 + z * (1 - sigma))


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
    if dout is None:
        return [None] * 4
    dtype = working_dtype(x, weight)
    x, w, grad = x.to(dtype), weight.to(dtype), dout.to(dtype)
    gate_in = None if z is None else z.to(dtype)
    gate = None if gate_in is None else F.silu(gate_in)
    y = x if gate is None or norm_before_gate else x * gate
    normed, inverse = _normed(y, eps, group_size)
    dz = None
    if gate is not None and gate_in is not None and norm_before_gate:
        scaled = normed * w if bias is None else normed * w + bias.to(dtype)
        dz = _gate_gradient(gate_in, grad * scaled)
        grad = grad * gate
    rows = tuple(range(grad.dim() - 1))
    dweight = (grad * normed).sum(rows) if rows else grad * normed
    dbias = None if bias is None else (grad.sum(rows) if rows else grad)
    dnormed = (grad * w).unflatten(-1, (inverse.shape[-2], group_size))
    groups = normed.view_as(dnormed)
    along = (dnormed * groups).mean(-1, keepdim=True)
    dy = ((dnormed - groups * along) * inverse).flatten(-2)
    if gate is not None and gate_in is not None and not norm_before_gate:
        dz = _gate_gradient(gate_in, dy * x)
        dy = dy * gate
    return [dy, dweight, dbias, dz]
