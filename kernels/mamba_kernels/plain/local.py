"""The ops that see a few tokens, or one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import working_dtype
from mamba_kernels.plain.paths import read, refuse, write


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """See :func:`mamba_kernels.ops.causal_conv1d`; nothing packed.

    :returns: outputs in token order, and the last inputs.
    """
    refuse("causal_conv1d", cu_seqlens=cu_seqlens, seq_idx=seq_idx)
    dtype = working_dtype(x, weight, initial_states)
    length, width = x.shape[-1], weight.shape[-1]
    tokens = read(x.to(dtype), order, shared=x.dim() == 3)
    if initial_states is None:
        window = F.pad(tokens, (width - 1, 0))
    else:
        past = initial_states.to(dtype)
        window = torch.cat([past if order is not None else past.unsqueeze(1), tokens], -1)
    taps = weight.to(dtype)
    y = sum(taps[..., i, None] * window[..., i : i + length] for i in range(width))
    assert isinstance(y, Tensor)
    y = y if bias is None else y + bias.to(dtype)[..., None]
    y = F.silu(y) if activation == "silu" else y
    last = window[..., length:]
    last = last if order is not None else last.squeeze(1)
    return write(y, order).to(x.dtype), last.to(x.dtype)


def rms_norm_gated(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    z: Tensor | None,
    eps: float,
    group_size: int,
    norm_before_gate: bool,
) -> tuple[Tensor, Tensor]:
    """See :func:`mamba_kernels.ops.rms_norm_gated`.

    :returns: outputs, and an empty tensor in place of a state.
    """
    dtype = working_dtype(x, weight)
    y = x.to(dtype)
    gate = None if z is None else F.silu(z.to(dtype))
    if gate is not None and not norm_before_gate:
        y = y * gate
    groups = y.unflatten(-1, (-1, group_size))
    groups = groups * torch.rsqrt(groups.square().mean(-1, keepdim=True) + eps)
    y = groups.flatten(-2) * weight.to(dtype)
    y = y if bias is None else y + bias.to(dtype)
    if gate is not None and norm_before_gate:
        y = y * gate
    return y.to(x.dtype), x.new_empty(0)
