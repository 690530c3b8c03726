"""Gated RMS norm by the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mamba_kernels.backends.native._abi import NORM, describe, plain
from mamba_kernels.backends.native._library import run

_ITEMS = 16
"""Pieces that the rows are cut into, whatever the number of threads."""


def _rows(t: Tensor | None) -> Tensor | None:
    """``(..., D)`` -> ``(rows, D)``; a copy only where no strides say that."""
    return None if t is None else t.reshape(-1, t.shape[-1])


def _row(t: Tensor | None) -> tuple[int, ...]:
    return describe(t, None, 0)


def _numbers(x: Tensor, eps: float, group_size: int, norm_before_gate: bool) -> dict[str, Any]:
    rows = x.shape[0]
    return {
        "rows": rows,
        "channels": x.shape[1],
        "group_size": group_size,
        "norm_before_gate": norm_before_gate,
        "shards": max(1, min(_ITEMS, rows)),
        "eps": eps,
    }


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
    out = x.new_empty(x.shape)
    if not out.numel():
        return out, x.new_empty(0), x.new_empty(0)
    rows, gate, result = _rows(x), _rows(z), out.view(-1, x.shape[-1])
    assert rows is not None
    fields = {
        "x": plain(rows),
        "z": plain(gate),
        "out": plain(result),
        "weight": _row(weight),
        "bias": _row(bias),
    }
    run("norm_forward", NORM.pack(fields, **_numbers(rows, eps, group_size, norm_before_gate)))
    return out, x.new_empty(0), x.new_empty(0)


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
    if dout is None or not x.numel():
        return [None] * 4
    rows, gate, grad = _rows(x), _rows(z), _rows(dout)
    assert rows is not None
    numbers = _numbers(rows, eps, group_size, norm_before_gate)
    dx = rows.new_empty(rows.shape, dtype=torch.float32)
    dz = None if z is None else torch.empty_like(dx)
    dweight = dx.new_empty(numbers["shards"], rows.shape[1])
    dbias = None if bias is None else torch.empty_like(dweight)
    fields = {
        "x": plain(rows),
        "z": plain(gate),
        "weight": _row(weight),
        "bias": _row(bias),
        "dout": plain(grad),
        "dx": plain(dx),
        "dz": plain(dz),
        "dweight": plain(dweight),
        "dbias": plain(dbias),
    }
    run("norm_backward", NORM.pack(fields, **numbers))
    return [
        dx.view(x.shape),
        dweight.sum(0),
        None if dbias is None else dbias.sum(0),
        None if dz is None else dz.view(x.shape),
    ]
