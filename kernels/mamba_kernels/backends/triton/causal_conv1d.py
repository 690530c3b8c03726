"""Causal convolution: outputs and last inputs forward; the activation's slope, then the inputs'
gradients backward. Never waits for the device: where sequences lie stays on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mamba_kernels.backends.triton.kernels.convolution import (
    convolve,
    initial_gradients,
    input_gradients,
    last_inputs,
)
from mamba_kernels.backends.triton.launch import (
    check_on_cpu,
    on_device,
    power_of_two,
    strides,
    zero,
)


class _Packing(NamedTuple):
    """Where the sequences lie; all None when every row is one."""

    starts: Tensor | None = None  # (batch, length) int32
    ends: Tensor | None = None
    rows: Tensor | None = None  # (length,), packed sequences only
    last_starts: Tensor | None = None  # (rows,): of the last sequence of each row
    last_ends: Tensor | None = None
    first_starts: Tensor | None = None  # (rows,): of the first
    first_ends: Tensor | None = None


def _packing(
    x: Tensor, order: Tensor | None, seq_idx: Tensor | None, cu_seqlens: Tensor | None
) -> _Packing:
    length = x.shape[-1]
    check_on_cpu(order, cu_seqlens, length)
    steps = torch.arange(length, device=x.device)
    if cu_seqlens is not None:
        first, end = cu_seqlens[:-1].contiguous(), cu_seqlens[1:].contiguous()
        if length == 0 or first.numel() == 0:
            return _Packing(None, None, None, first, end, first, end)
        rows = torch.searchsorted(end.long(), steps, right=True).clamp_(max=len(end) - 1)
        starts, ends = first[rows].int()[None], end[rows].int()[None]
        return _Packing(starts, ends, rows.int(), first, end, first, end)
    if seq_idx is None or length == 0:
        return _Packing()
    change = seq_idx[:, 1:] != seq_idx[:, :-1]
    edge = torch.zeros_like(seq_idx, dtype=torch.int64)
    edge[:, 1:] = torch.where(change, steps[1:], 0)
    starts = edge.cummax(1).values
    edge = torch.full_like(edge, length)
    edge[:, :-1] = torch.where(change, steps[1:], length)
    ends = edge.flip(1).cummin(1).values.flip(1)
    starts, ends = starts.int().contiguous(), ends.int().contiguous()
    return _Packing(
        starts, ends, None, starts[:, -1].contiguous(), None, None, ends[:, 0].contiguous()
    )


def _tiles(x: Tensor) -> tuple[int, int]:
    """Channels and steps of a program: long in the direction that is contiguous in memory."""
    return (8, 128) if x.stride(-1) == 1 and x.shape[-1] > 16 else (64, 16)


def _at(x: Tensor | None) -> tuple[int, ...]:
    return strides(x, 4, paths=True)


def _programs(x: Tensor, paths: int, channels: int, steps: int) -> int:
    batch, width, length = x.shape[0], *x.shape[-2:]
    return batch * paths * -(-width // channels) * -(-length // steps)


ROW_CHANNELS = 64  # channels of a program for the states of a row


@on_device
def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, last inputs, and nothing kept: backward convolves again."""
    packing = _packing(x, order, seq_idx, cu_seqlens)
    batch, width, length = x.shape[0], *x.shape[-2:]
    taps, paths = weight.shape[-1], 1 if order is None else order.shape[-2]
    per_path = () if order is None else (paths,)
    rows = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    out = x.new_empty((batch, *per_path, width, length))
    last = x.new_empty((rows, *per_path, width, taps - 1))
    if length == 0:
        return out, last.zero_() if initial_states is None else last.copy_(initial_states), _none(x)
    order_at = strides(order, 3, paths=False)
    channels, steps = _tiles(x)
    if out.numel():
        convolve[(_programs(x, paths, channels, steps),)](
            x, weight, bias, initial_states, order, packing.starts, packing.ends, packing.rows,
            None, out, None, None,
            _at(x), strides(weight, 3, paths=False), strides(bias, 2, paths=False),
            _at(initial_states), order_at, _at(None), _at(out),
            length, width, paths,
            WIDTH=taps, SILU=activation == "silu", SEGMENTS=seq_idx is not None,
            CHANNELS=channels, STEPS=steps,
        )  # fmt: skip
    if last.numel():
        last_inputs[(rows * paths * -(-width // ROW_CHANNELS),)](
            x, initial_states, order, packing.last_starts, packing.last_ends, last,
            _at(x), _at(initial_states), order_at, length, width, paths,
            WIDTH=taps, PLACES=power_of_two(taps - 1), PACKED=cu_seqlens is not None,
            SEGMENTS=seq_idx is not None, CHANNELS=ROW_CHANNELS,
        )  # fmt: skip
    return out, last, _none(x)


def _none(x: Tensor) -> Tensor:
    return x.new_empty(0)


@on_device
def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> list[Tensor | None]:
    """Gradients of the four tensor inputs."""
    packing = _packing(x, order, seq_idx, cu_seqlens)
    batch, width, length = x.shape[0], *x.shape[-2:]
    taps, paths = weight.shape[-1], 1 if order is None else order.shape[-2]
    rows = batch if cu_seqlens is None else cu_seqlens.shape[0] - 1
    if length == 0 or x.numel() == 0:
        return [None, None, None, None if initial_states is None else dlast]
    channels, steps = _tiles(x)
    programs = (_programs(x, paths, channels, steps),)
    slots = batch * -(-length // steps)
    segments = seq_idx is not None
    order_at, weight_at = strides(order, 3, paths=False), strides(weight, 3, paths=False)
    g = x.new_empty((batch, paths, width, length), dtype=torch.float32)
    dweight = x.new_empty((slots, paths, width, taps), dtype=torch.float32) if needs[1] else None
    dbias = None if bias is None else x.new_empty((slots, paths, width), dtype=torch.float32)
    dy = zero((batch, paths, width, length), x) if dout is None else dout
    convolve[programs](
        x, weight, bias, initial_states, order, packing.starts, packing.ends, packing.rows,
        dy, g, dweight, dbias,
        _at(x), weight_at, strides(bias, 2, paths=False), _at(initial_states), order_at, _at(dy),
        _at(g), length, width, paths,
        WIDTH=taps, SILU=activation == "silu", SEGMENTS=segments, CHANNELS=channels, STEPS=steps,
    )  # fmt: skip
    dx = dinitial = None
    if needs[0]:
        shared = x.dim() == 3 and paths > 1
        dx = x.new_empty(g.shape, dtype=torch.float32 if shared else x.dtype)
        input_gradients[programs](
            g, dlast, weight, order, packing.starts, packing.ends, packing.rows, dx,
            _at(g), _at(dlast), weight_at, order_at, _at(dx), length, width, paths,
            WIDTH=taps, SEGMENTS=segments, CHANNELS=channels, STEPS=steps,
        )  # fmt: skip
        dx = dx if x.dim() == 4 else dx.sum(1) if shared else dx[:, 0]
    if initial_states is not None and taps > 1:
        dinitial = x.new_empty((rows, paths, width, taps - 1), dtype=torch.float32)
        initial_gradients[(rows * paths * -(-width // ROW_CHANNELS),)](
            g, dlast, weight, packing.first_starts, packing.first_ends, dinitial,
            _at(g), _at(dlast), weight_at, length, width, paths,
            WIDTH=taps, PLACES=power_of_two(taps - 1), PACKED=cu_seqlens is not None,
            SEGMENTS=segments, CHANNELS=ROW_CHANNELS,
        )  # fmt: skip
        dinitial = dinitial.reshape(initial_states.shape)

    def parameter(grad: Tensor | None, like: Tensor | None, dims: int) -> Tensor | None:
        if grad is None or like is None:
            return None
        grad = grad.sum(0)
        return grad if like.dim() > dims else grad.sum(0)

    return [dx, parameter(dweight, weight, 2), parameter(dbias, bias, 1), dinitial]
