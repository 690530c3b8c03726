"""Causal convolution by the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mamba_kernels.backends.layout import Segments, segments_of
from mamba_kernels.backends.native._abi import CONV, per_path, plain
from mamba_kernels.backends.native._library import checked_order, edges_of, run


@dataclass
class _Call:
    """The arguments, with ``seq_idx`` turned into packing, and what the structure says of them."""

    x: Tensor
    initial: Tensor | None
    order: Tensor | None
    edges: Tensor
    segments: Segments | None
    paths: int
    rows: int
    fields: dict[str, tuple[int, ...]]
    numbers: dict[str, int]


def _merged(t: Tensor, segments: Segments | None) -> Tensor:
    """``(B, D, L)`` -> ``(1, D, B L)`` where there are segments."""
    if segments is None:
        return t
    return t.transpose(1, 2).reshape(1, -1, t.shape[1]).transpose(1, 2)


def _split(t: Tensor, segments: Segments | None, like: Tensor) -> Tensor:
    """The inverse of :func:`_merged`."""
    if segments is None:
        return t
    return t.reshape(t.shape[1], like.shape[0], like.shape[2]).transpose(0, 1)


def _prepare(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_states: Tensor | None,
    activation: str,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> _Call:
    segments = None if seq_idx is None else segments_of(seq_idx)
    cu_seqlens = cu_seqlens if segments is None else segments.cu_seqlens
    x = _merged(x, segments)
    batch, (channels, length), width = x.shape[0], x.shape[-2:], weight.shape[-1]
    edges = edges_of(cu_seqlens, length)
    order = checked_order(order, edges)
    sequences = edges.shape[0] - 1
    if segments is not None and initial_states is not None:
        initial = initial_states.new_zeros(sequences, *initial_states.shape[1:])
        initial_states = initial.index_put_((segments.first,), initial_states)
    paths = 1 if order is None else order.shape[-2]
    fields = {
        "x": per_path(x, 4),
        "weight": per_path(weight, 3, 0),
        "bias": per_path(bias, 2, 0),
        "initial": per_path(initial_states, 4),
        "order": per_path(order, 3, 0),
        "edges": plain(edges),
    }
    numbers = {
        "batch": batch,
        "paths": paths,
        "channels": channels,
        "width": width,
        "length": length,
        "sequences": sequences,
        "silu": activation == "silu",
    }
    rows = batch if cu_seqlens is None else sequences
    return _Call(x, initial_states, order, edges, segments, paths, rows, fields, numbers)


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in token order and last inputs; nothing kept: backward convolves again."""
    *inputs, _keep = args
    call = _prepare(*inputs)
    x, weight = inputs[:2]
    paths = () if call.order is None else (call.paths,)
    out = x.new_empty((call.x.shape[0], *paths, *call.x.shape[-2:]))
    last = x.new_empty((call.rows, call.paths, call.x.shape[-2], weight.shape[-1] - 1))
    fields = {"out": per_path(out, 4), "last": plain(last)}
    run("conv_forward", CONV.pack(call.fields | fields, **call.numbers))
    if call.order is None:
        last = last[:, 0]
    if call.segments is not None:
        out, last = _split(out, call.segments, x).contiguous(), last[call.segments.last]
    return out, last, x.new_empty(0)


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the four tensor inputs; None for those that are absent."""
    call = _prepare(*args)
    x, weight, bias = args[:3]
    batch, (channels, width) = call.x.shape[0], weight.shape[-2:]

    def new(*shape: int) -> Tensor:
        return x.new_empty(shape, dtype=torch.float32)

    if call.segments is not None:
        dout = None if dout is None else _merged(dout, call.segments)
        if dlast is not None:
            ends = dlast.new_zeros(call.rows, *dlast.shape[1:])
            dlast = ends.index_put_((call.segments.last,), dlast)
    dx = new(*call.x.shape)
    dweight = new(batch, call.paths, channels, width)
    dbias = None if bias is None else new(batch, call.paths, channels)
    dinitial = None if call.initial is None else new(*call.initial.shape)
    fields = {
        "dout": per_path(dout, 4),
        "dlast": per_path(dlast, 4),
        "dx": per_path(dx, 4),
        "dweight": plain(dweight),
        "dbias": plain(dbias),
        "dinitial": per_path(dinitial, 4),
    }
    run("conv_backward", CONV.pack(call.fields | fields, **call.numbers))
    if dbias is not None and bias is not None:
        dbias = dbias.sum(0) if bias.dim() == 2 else dbias.sum((0, 1))
    if dinitial is not None and call.segments is not None:
        dinitial = dinitial[call.segments.first]
    return [
        _split(dx, call.segments, x),
        dweight.sum(0) if weight.dim() == 3 else dweight.sum((0, 1)),
        dbias,
        dinitial,
    ]
