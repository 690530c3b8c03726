"""Causal depth-wise convolution as one multiply-add over all tokens per tap.

Packed sequences are laid out with their own ``width - 1`` past inputs before each, so that no
window can see another sequence.
"""

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


class _Taps(torch.autograd.Function):
    """``out[t] = sum_i weight[i] x[t + i]``: x ``(B, K, D, M + W - 1)``, weight ``(K, D, W)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        width = weight.shape[-1]
        size = x.shape[-1] - width + 1
        out = x[..., :size] * weight[..., :1]
        for i in range(1, width):
            out.addcmul_(x[..., i : i + size], weight[..., i : i + 1])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        width, size = weight.shape[-1], grad.shape[-1]
        dx = dweight = None
        if ctx.needs_input_grad[0]:
            dx = torch.zeros_like(x)
            for i in range(width):
                dx[..., i : i + size].addcmul_(grad, weight[..., i : i + 1])
        if ctx.needs_input_grad[1]:
            sums = [(grad * x[..., i : i + size]).sum((0, 3)) for i in range(width)]
            dweight = torch.stack(sums, -1)
            if weight.shape[0] < dweight.shape[0]:
                dweight = dweight.sum(0, keepdim=True)
        return dx, dweight


def _places(bounds: list[tuple[int, int]], width: int) -> tuple[Tensor, Tensor, Tensor]:
    """For packed sequences, indices into [tokens | past inputs of all] and into the layout.

    :returns: source of each place of the layout; place of the first tap of each token; places of
        the last inputs of each sequence, ``(S, W - 1)``.
    """
    length, past = bounds[-1][1] if bounds else 0, width - 1
    source, taps, last = [], [], []
    place = 0
    for sequence, (start, end) in enumerate(bounds):
        first = length + sequence * past
        source += [torch.arange(first, first + past), torch.arange(start, end)]
        taps.append(torch.arange(place, place + end - start))
        place += past + end - start
        last.append(torch.arange(place - past, place))
    return torch.cat(source), torch.cat(taps), torch.stack(last)


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
    if seq_idx is not None:
        return _convolve_segments(x, weight, bias, initial_states, activation, seq_idx)
    dtype = working_dtype(x, weight, initial_states)
    batch, channels, length = x.shape[0], x.shape[-2], x.shape[-1]
    width, paths = weight.shape[-1], 1 if order is None else order.shape[-2]
    bounds = bounds_of(cu_seqlens, length)
    check_order(order, bounds)
    tokens = read(x.movedim(-1, 0).to(dtype), order, shared=x.dim() == 3).movedim(0, -1)
    rows = batch if cu_seqlens is None else len(bounds)
    if initial_states is None:
        past = tokens.new_zeros(rows, paths, channels, width - 1)
    else:
        past = initial_states.to(dtype).reshape(rows, paths, channels, width - 1)
    kernel = weight.to(dtype) if weight.dim() == 3 else weight.to(dtype)[None]
    if cu_seqlens is None:
        window = torch.cat([past, tokens], -1)
        y, last = _Taps.apply(window, kernel), window[..., length:]
    elif not bounds:
        y, last = tokens * 1, past
    else:
        source, taps, ends = (i.to(x.device) for i in _places(bounds, width))
        before = past.permute(1, 2, 0, 3).reshape(1, paths, channels, rows * (width - 1))
        window = torch.cat([tokens, before], -1).index_select(-1, source)
        y = _Taps.apply(window, kernel).index_select(-1, taps)
        last = window[0].index_select(-1, ends.flatten())
        last = last.unflatten(-1, (rows, width - 1)).permute(2, 0, 1, 3)
    if bias is not None:
        y = y + bias.to(dtype)[..., None]
    if activation == "silu":
        y = F.silu(y)
    y = write(y.movedim(-1, 0), order).movedim(0, -1) if order is not None else y.squeeze(1)
    last = last if order is not None else last.squeeze(1)
    return y.to(x.dtype), last.to(x.dtype)


def _convolve_segments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    seq_idx: Tensor,
) -> tuple[Tensor, Tensor]:
    """All rows one after another as one packed row."""
    batch, channels, length = x.shape
    segments = segments_of(seq_idx)
    initial = initial_states
    if initial is not None:
        count = segments.cu_seqlens.shape[0] - 1
        initial = initial.new_zeros(count, *initial.shape[1:]).index_put((segments.first,), initial)
    row = x.transpose(0, 1).reshape(1, channels, batch * length)
    y, last = _convolve(row, weight, bias, initial, activation, None, None, segments.cu_seqlens)
    return y.reshape(channels, batch, length).transpose(0, 1), last[segments.last]


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, last inputs, and nothing kept: backward convolves again."""
    out, last = _convolve(*args[:-1])
    return out.contiguous(), last.clone(memory_format=torch.contiguous_format), out.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the four tensor inputs."""
    return recompute(_convolve, dout, dlast, needs, args)
