"""Selective scan by the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mamba_kernels.backends.native._abi import SELECTIVE_SCAN, dense, describe, per_path, plain
from mamba_kernels.backends.native._library import checked_order, edges_of, run

BLOCK = 64
"""Steps between the states that forward keeps for backward; as in ``selective_scan.h``."""
_ITEMS = 16
"""Pieces that backward is cut into, whatever the number of threads: results do not depend on it."""


def keeps(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
) -> Tensor:
    """What forward keeps for backward, empty: the states between blocks.

    A sequence of n blocks has n - 1 borders, so there are never more than ``L // BLOCK``. Flat:
    whether a dimension of its own is 1 would be asked, and would pin the length in export.
    """
    paths = 1 if order is None else order.shape[-2]
    size = u.shape[0] * paths * (u.shape[-1] // BLOCK) * A.shape[-1] * A.shape[-2]
    return u.new_empty(size, dtype=torch.float32)


@dataclass(frozen=True)
class _Call:
    """A call's sizes, and tensors that must live as long as it runs."""

    paths: int
    groups: int
    rows: int
    edges: Tensor
    order: Tensor | None
    packed: Tensor
    fields: dict[str, tuple[int, ...]]
    numbers: dict[str, int]


def _over_time(x: Tensor, ordered: bool) -> tuple[int, ...]:
    """B or C, ``(B, [K,] [G,] N, L)``, as (b, k, g, n, t)."""
    axes: list[int | None] = list(range(x.dim()))
    if not ordered:
        axes.insert(1, None)
    if len(axes) == 4:
        axes.insert(2, None)
    elif x.shape[-3] == 1:
        axes[2] = None  # one group serves all
    return describe(x, *axes)


def _groups(x: Tensor, ordered: bool) -> int:
    return x.shape[-3] if x.dim() == (5 if ordered else 4) else 1


def _prepare(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
) -> _Call:
    batch, channels, length = u.shape[0], A.shape[-2], u.shape[-1]
    ordered, n = order is not None, A.shape[-1]
    edges = edges_of(cu_seqlens, length)
    order = checked_order(order, edges)
    paths = 1 if order is None else order.shape[-2]
    groups = max(_groups(B, ordered), _groups(C, ordered))
    packed = u.new_empty((2, batch, paths, groups, length, n), dtype=torch.float32)
    fields = {
        "u": per_path(u, 4),
        "delta": per_path(delta, 4),
        "z": per_path(z, 4),
        "A": per_path(A, 3, 0),
        "B": _over_time(B, ordered),
        "C": _over_time(C, ordered),
        "D": per_path(D, 2, 0),
        "delta_bias": per_path(delta_bias, 2, 0),
        "initial": per_path(initial_state, 4),
        "order": per_path(order, 3, 0),
        "packed": plain(packed[0]),
        "edges": plain(edges),
    }
    numbers = {
        "batch": batch,
        "paths": paths,
        "channels": channels,
        "groups": groups,
        "states": n,
        "length": length,
        "sequences": edges.shape[0] - 1,
        "softplus": delta_softplus,
    }
    rows = batch if cu_seqlens is None else edges.shape[0] - 1
    return _Call(paths, groups, rows, edges, order, packed, fields, numbers)


def _saved(saved: Tensor, call: _Call, u: Tensor, A: Tensor) -> tuple[int, ...]:
    return dense(saved, u.shape[0], call.paths, u.shape[-1] // BLOCK, A.shape[-1], A.shape[-2])


def forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in token order, last state, and what :func:`keeps` says."""
    inputs = (u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens)
    call = _prepare(*inputs)
    out = u.new_empty(delta.shape)
    state = (call.rows, call.paths, *A.shape[-2:])
    last = u.new_empty(state, dtype=torch.float32)
    saved = keeps(*inputs) if keep else u.new_empty(0)
    fields = {"out": per_path(out, 4), "last": plain(last)}
    if keep:
        fields["saved"] = _saved(saved, call, u, A)
    packed = SELECTIVE_SCAN.pack(call.fields | fields, shards=1, **call.numbers)
    run("scan_pack", packed)
    run("scan_forward", packed)
    return out, last if order is not None else last[:, 0], saved


def _shards(batch: int, channels: int) -> int:
    return max(1, min(-(-_ITEMS // max(batch, 1)), -(-channels // 16)))


def backward(
    dout: Tensor | None,
    dlast: Tensor | None,
    saved: Tensor,
    needs: Sequence[bool],
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    initial_state: Tensor | None,
    delta_softplus: bool,
    order: Tensor | None,
    cu_seqlens: Tensor | None,
) -> list[Tensor | None]:
    """Gradients of the nine tensor inputs; None for those that are absent."""
    call = _prepare(
        u, delta, A, B, C, D, z, delta_bias, initial_state, delta_softplus, order, cu_seqlens
    )
    batch, (channels, n) = u.shape[0], A.shape[-2:]
    shards = _shards(batch, channels)

    def new(*shape: int) -> Tensor:
        return u.new_empty(shape, dtype=torch.float32)

    def like(x: Tensor | None) -> Tensor | None:
        return None if x is None else new(*x.shape)

    du, ddelta, dz, dinitial = like(u), like(delta), like(z), like(initial_state)
    dA = new(batch, call.paths, channels, n)
    dD = None if D is None else new(batch, call.paths, channels)
    dbias = None if delta_bias is None else new(batch, call.paths, channels)
    over_time = (shards, batch, call.paths, call.groups, n, u.shape[-1])
    dB = u.new_zeros(over_time, dtype=torch.float32)
    dC = torch.zeros_like(dB)
    fields = {
        "saved": _saved(saved, call, u, A),
        "dout": per_path(dout, 4),
        "dlast": per_path(dlast, 4),
        "du": per_path(du, 4),
        "ddelta": per_path(ddelta, 4),
        "dz": per_path(dz, 4),
        "dA": plain(dA),
        "dB": describe(dB),
        "dC": describe(dC),
        "dD": plain(dD),
        "dbias": plain(dbias),
        "dinitial": per_path(dinitial, 4),
    }
    packed = SELECTIVE_SCAN.pack(call.fields | fields, shards=shards, **call.numbers)
    run("scan_pack", packed)
    run("scan_backward", packed)

    def parameter(grad: Tensor | None, value: Tensor | None, dims: int) -> Tensor | None:
        if grad is None or value is None:
            return None
        return grad.sum(0) if value.dim() > dims else grad.sum((0, 1))

    def over_tokens(parts: Tensor, value: Tensor) -> Tensor:
        """Of B or C: all shards, in token order, shaped like the input."""
        grad = parts.sum(0)  # (B, K, G, N, L)
        if call.order is not None:
            index = call.order[..., None, None, :].expand_as(grad)
            grad = torch.empty_like(grad).scatter_(-1, index, grad)
        own = _groups(value, order is not None)
        return (grad.sum(2) if own < call.groups else grad).reshape(value.shape)

    return [
        du,
        ddelta,
        parameter(dA, A, 2),
        over_tokens(dB, B),
        over_tokens(dC, C),
        parameter(dD, D, 1),
        dz,
        parameter(dbias, delta_bias, 1),
        dinitial,
    ]
