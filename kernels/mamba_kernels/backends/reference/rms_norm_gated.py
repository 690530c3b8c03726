"""RMS norm over groups of channels with a SiLU gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import working_dtype
from mamba_kernels.backends.reference.gradients import recompute


def _norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None,
    eps: float,
    group_size: int,
    norm_before_gate: bool,
) -> tuple[Tensor]:
    dtype = working_dtype(x, weight)
    y = x.to(dtype)
    if z is not None and not norm_before_gate:
        y = y * F.silu(z.to(dtype))
    groups = y.unflatten(-1, (-1, group_size))
    groups = groups * torch.rsqrt(groups.square().mean(-1, keepdim=True) + eps)
    y = groups.flatten(-2) * weight.to(dtype)
    if bias is not None:
        y = y + bias.to(dtype)
    if z is not None and norm_before_gate:
        y = y * F.silu(z.to(dtype))
    return (y.to(x.dtype).contiguous(),)


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs; there is no state and nothing kept for backward."""
    (out,) = _norm(*args[:-1])
    return out, out.new_empty(0), out.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the four tensor inputs."""
    return recompute(_norm, dout, None, needs, args)
