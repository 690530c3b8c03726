"""SSD by the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mamba_kernels.backends.layout import Segments, segments_of
from mamba_kernels.backends.native._abi import SSD, dense, describe, per_path, plain
from mamba_kernels.backends.native._library import checked_order, edges_of, run

SPAN = 128
"""Steps between the states that forward keeps for backward; as in ``ssd.h``."""
_ITEMS = 8
"""Pieces that a call is cut into, whatever the number of threads: results do not depend on it."""


def keeps(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    chunk_size: int,
    dt_softplus: bool,
    dt_min: float,
    dt_max: float,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> Tensor:
    """What forward keeps for backward, empty: the states between spans.

    A sequence of n spans has n - 1 borders, so there are never more than ``L // SPAN``. Flat:
    whether a dimension of its own is 1 would be asked, and would pin the length in export.
    """
    batch, length, heads, p = x.shape[0], *x.shape[-3:]
    if seq_idx is not None:
        batch, length = 1, batch * length
    paths = 1 if order is None else order.shape[-2]
    size = batch * paths * (length // SPAN) * heads * B.shape[-1] * p
    return x.new_empty(size, dtype=torch.float32)


@dataclass
class _Call:
    """The arguments, with ``seq_idx`` turned into packing, and what the structure says of them."""

    x: Tensor
    dt: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    z: Tensor | None
    dt_bias: Tensor | None
    initial: Tensor | None
    order: Tensor | None
    edges: Tensor
    segments: Segments | None
    paths: int
    groups: int
    rows: int
    shards: int
    fields: dict[str, tuple[int, ...]]
    numbers: dict[str, Any]

    def merged(self, t: Tensor | None) -> Tensor | None:
        """All batch items one after another, where there are segments."""
        if t is None or self.segments is None:
            return t
        return t.reshape(1, -1, *t.shape[2:])

    def split(self, t: Tensor | None, like: Tensor | None) -> Tensor | None:
        """The inverse of :meth:`merged`."""
        return t if t is None or like is None else t.reshape(like.shape)

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (self.rows, self.paths, *self.x.shape[-2:], self.B.shape[-1])


def _per_group(t: Tensor, groups: int) -> tuple[int, ...]:
    """B or C, ``(B, [K,] L, G, N)``, as (b, k, t, g, n)."""
    axes: list[int | None] = list(range(t.dim()))
    if len(axes) == 4:
        axes.insert(1, None)
    if t.shape[-2] < groups:
        axes[3] = None
    return describe(t, *axes)


def _skip(D: Tensor | None) -> tuple[int, ...]:
    """D, ``(H,)``, ``(H, P)`` or ``(K, H, P)``, as (k, h, p)."""
    if D is None or D.dim() > 1:
        return per_path(D, 3, 0)
    return describe(D, None, 0, None)


def _prepare(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    initial_states: Tensor | None,
    chunk_size: int,  # a hint for devices with tensor cores
    dt_softplus: bool,
    dt_min: float,
    dt_max: float,
    order: Tensor | None,
    seq_idx: Tensor | None,
    cu_seqlens: Tensor | None,
) -> _Call:
    segments = None if seq_idx is None else segments_of(seq_idx)
    if segments is not None:
        cu_seqlens = segments.cu_seqlens
    groups = max(B.shape[-2], C.shape[-2])
    call = _Call(
        x, dt, A, B, C, D, z, dt_bias, initial_states, order, dt, segments, 1, groups, 0, 1, {}, {}
    )
    for name in ("x", "dt", "B", "C", "z"):
        setattr(call, name, call.merged(getattr(call, name)))
    (batch, length), (heads, p) = (call.x.shape[0], call.x.shape[-3]), call.x.shape[-2:]
    call.edges = edges_of(cu_seqlens, length)
    call.order = checked_order(order, call.edges)
    call.paths = 1 if order is None else order.shape[-2]
    sequences = call.edges.shape[0] - 1
    call.rows = batch if cu_seqlens is None else sequences
    if segments is not None and initial_states is not None:
        initial = initial_states.new_zeros(sequences, *initial_states.shape[1:])
        call.initial = initial.index_put_((segments.first,), initial_states)
    call.shards = max(1, min(-(-_ITEMS // max(batch * groups, 1)), heads // groups))
    call.fields = {
        "x": per_path(call.x, 5),
        "z": per_path(call.z, 5),
        "dt": per_path(call.dt, 4),
        "A": per_path(A, 2, 0),
        "dt_bias": per_path(dt_bias, 2, 0),
        "B": _per_group(call.B, groups),
        "C": _per_group(call.C, groups),
        "D": _skip(D),
        "initial": per_path(call.initial, 5),
        "order": per_path(call.order, 3, 0),
        "edges": plain(call.edges),
    }
    call.numbers = {
        "batch": batch,
        "paths": call.paths,
        "heads": heads,
        "groups": groups,
        "width": p,
        "states": B.shape[-1],
        "length": length,
        "sequences": sequences,
        "shards": call.shards,
        "softplus": dt_softplus,
        "dt_min": dt_min,
        "dt_max": dt_max,
    }
    return call


def _saved(saved: Tensor, call: _Call) -> tuple[int, ...]:
    batch, (length, heads, p), n = call.x.shape[0], call.x.shape[-3:], call.B.shape[-1]
    return dense(saved, batch, call.paths, length // SPAN, heads, n * p)


def forward(*args: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in token order, last states, and what :func:`keeps` says."""
    *inputs, keep = args
    call = _prepare(*inputs)
    x, order = inputs[0], call.order
    paths = () if order is None else (call.paths,)
    out = x.new_empty((x.shape[0], *paths, *x.shape[-3:]))
    whole = call.merged(out)
    last = x.new_empty(call.state_shape, dtype=torch.float32)
    saved = keeps(*inputs) if keep else x.new_empty(0)
    fields = {"out": per_path(whole, 5), "last": plain(last)}
    if keep:
        fields["saved"] = _saved(saved, call)
    run("ssd_forward", SSD.pack(call.fields | fields, **call.numbers))
    if order is None:
        last = last[:, 0]
    return out, last if call.segments is None else last[call.segments.last], saved


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    *args: Any,
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs; None for those that are absent."""
    call = _prepare(*args)
    x, dt, A, B, C, D, z, dt_bias = args[:8]
    batch, heads, p, n = call.x.shape[0], *call.x.shape[-2:], B.shape[-1]

    def new(*shape: int) -> Tensor:
        return x.new_empty(shape, dtype=torch.float32)

    def like(t: Tensor | None) -> Tensor | None:
        return None if t is None else new(*t.shape)

    if dlast is not None and call.segments is not None:
        ends = dlast.new_zeros(call.rows, *dlast.shape[1:])
        dlast = ends.index_put_((call.segments.last,), dlast)
    dx, ddt, dz, dinitial = like(call.x), like(call.dt), like(call.z), like(call.initial)
    dA = new(batch, call.paths, heads)
    dbias = None if dt_bias is None else new(batch, call.paths, heads)
    dD = None if D is None else new(batch, call.paths, heads, p)
    dB = new(call.shards, batch, call.paths, call.x.shape[-3], call.groups, n)
    dC = torch.empty_like(dB)
    whole = call.merged(dout)
    fields = {
        "saved": _saved(saved, call),
        "dout": per_path(whole, 5),
        "dlast": per_path(dlast, 5),
        "dx": per_path(dx, 5),
        "dz": per_path(dz, 5),
        "ddt": per_path(ddt, 4),
        "dA": plain(dA),
        "dbias": plain(dbias),
        "dB": describe(dB, 1, 2, 3, 4, 5),
        "dC": describe(dC, 1, 2, 3, 4, 5),
        "dD": plain(dD),
        "dinitial": per_path(dinitial, 5),
    }
    run("ssd_backward", SSD.pack(call.fields | fields, **call.numbers))

    def parameter(grad: Tensor | None, value: Tensor | None) -> Tensor | None:
        if grad is None or value is None:
            return None
        return grad.sum(0) if value.dim() == 2 else grad.sum((0, 1))

    def skip() -> Tensor | None:
        if dD is None or D is None:
            return None
        total = dD.sum(0)
        if D.dim() == 3:
            return total
        return total.sum(0) if D.dim() == 2 else total.sum((0, 2))

    def over_tokens(parts: Tensor, value: Tensor) -> Tensor:
        """Of B or C: all shards, shaped like the input."""
        grad = parts[0] if call.shards == 1 else parts.sum(0)  # (B, K, L, G, N)
        grad = grad.sum(-2, keepdim=True) if value.shape[-2] < call.groups else grad
        return grad.reshape(value.shape)

    if dinitial is not None and call.segments is not None:
        dinitial = dinitial[call.segments.first]
    return [
        call.split(dx, x),
        call.split(ddt, dt),
        parameter(dA, A),
        over_tokens(dB, B),
        over_tokens(dC, C),
        skip(),
        call.split(dz, z),
        parameter(dbias, dt_bias),
        dinitial,
    ]
