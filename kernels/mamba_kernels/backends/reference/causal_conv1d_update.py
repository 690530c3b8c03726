"""The next outputs of a causal convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import check_rows, working_dtype


def update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str,
    state_batch_indices: Tensor | None,
) -> Tensor:
    """The outputs; ``conv_state`` is moved on in place."""
    dtype = working_dtype(x, conv_state, weight)
    if state_batch_indices is not None:
        check_rows(state_batch_indices, conv_state.shape[0])
    rows = slice(None) if state_batch_indices is None else state_batch_indices.long()
    width, kept = weight.shape[-1], conv_state.shape[-1]
    new = x[..., None] if x.dim() == 2 else x
    if new.shape[-1] == 0:  # unfold knows no empty windows
        return x.new_empty(x.shape)
    window = torch.cat([conv_state[rows].to(dtype), new.to(dtype)], -1)
    past = window[..., kept - (width - 1) :]
    y = (past.unfold(-1, width, 1) * weight.to(dtype)[:, None]).sum(-1)
    if bias is not None:
        y = y + bias.to(dtype)[:, None]
    if activation == "silu":
        y = F.silu(y)
    conv_state[rows] = window[..., window.shape[-1] - kept :].to(conv_state.dtype)
    return y.reshape(x.shape).to(x.dtype)
