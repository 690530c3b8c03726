"""Causal depth-wise convolution, one sequence after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mamba_kernels.backends.layout import (
    bounds_of,
    check_order,
    read,
    segments_of,
    working_dtype,
    write,
)
from mamba_kernels.backends.reference.gradients import recompute


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    dtype = working_dtype(x, weight, initial_states)
    batch, channels, length = x.shape[0], x.shape[-2], x.shape[-1]
    width, paths = weight.shape[-1], 1 if order is None else order.shape[-2]
    tokens = x.to(dtype)
    segments = None if seq_idx is None else segments_of(seq_idx)
    if segments is not None:  # all rows in one
        cu_seqlens = segments.cu_seqlens
        tokens = tokens.transpose(0, 1).reshape(1, channels, batch * length)
    bounds = bounds_of(cu_seqlens, tokens.shape[-1])
    check_order(order, bounds)
    read_ = read(tokens.movedim(-1, 0), order, shared=x.dim() == 3).movedim(0, -1)
    rows = batch if cu_seqlens is None else len(bounds)
    before = read_.new_zeros(rows, paths, channels, width - 1)
    if initial_states is not None:
        given = initial_states.to(dtype).reshape(
            initial_states.shape[0], paths, channels, width - 1
        )
        before = given if segments is None else before.index_put((segments.first,), given)
    outputs, last = [], []
    for sequence, (start, end) in enumerate(bounds):
        past = before if cu_seqlens is None else before[sequence : sequence + 1]
        window = torch.cat([past, read_[..., start:end]], -1)
        taps = [
            weight.to(dtype)[..., i : i + 1] * window[..., i : i + end - start]
            for i in range(width)
        ]
        outputs.append(torch.stack(taps).sum(0))
        last.append(window[..., end - start :])
    y = torch.cat(outputs, -1) if outputs else torch.zeros_like(read_)
    if bias is not None:
        y = y + bias.to(dtype)[..., None]
    if activation == "silu":
        y = F.silu(y)
    y = write(y.movedim(-1, 0), order).movedim(0, -1).to(x.dtype)
    states = torch.cat(last) if last else before
    if segments is not None:
        y = y.reshape(1, channels, batch, length).permute(2, 0, 1, 3)
        states = states[segments.last]
    if order is None:
        y, states = y.squeeze(1), states.squeeze(1)
    return y.contiguous(), states.to(x.dtype).clone()


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, last inputs, and nothing kept for backward."""
    out, last = _convolve(*args[:-1])
    return out, last, out.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the four tensor inputs."""
    return recompute(_convolve, dout, dlast, needs, args)
