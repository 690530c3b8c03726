"""Calls of every op at sizes where something ends in the middle: of a vector, a block, a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

Order = Literal["none", "shared", "own", "per item", "reversed"]
"""``shared``: K paths over the same tokens; ``own``: each path has its own tokens; ``per item``:
each batch item has its own orders; ``reversed``: one path from the end."""


class Draw:
    """Tensors from one seed, in float64."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def order(self, kind: Order, batch: int, length: int, edges: Sequence[int]) -> Tensor | None:
        """An order of that kind, which keeps the sequences between ``edges`` in their places."""
        if kind == "none":
            return None
        if kind == "reversed":
            return torch.arange(length).flip(0)[None]

        def path() -> Tensor:
            pieces = [
                torch.randperm(b - a, generator=self.generator) + a for a, b in pairwise(edges)
            ]
            return torch.cat(pieces)

        if kind == "per item":
            return torch.stack([torch.stack([path(), path()]) for _ in range(batch)])
        return torch.stack([path(), path()])


def _paths(kind: Order) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """K as a piece of a shape: of what each path has, and of the tokens."""
    paths = {"none": (), "reversed": (1,)}.get(kind, (2,))
    return paths, paths if kind == "own" else ()


def _common(
    draw: Draw, kind: Order, batch: int, length: int, cu_seqlens: list[int] | None
) -> dict[str, Any]:
    order = draw.order(kind, batch, length, cu_seqlens or [0, length])
    given: dict[str, Any] = {} if order is None else {"order": order}
    return given if cu_seqlens is None else given | {"cu_seqlens": torch.tensor(cu_seqlens)}


def selective_scan(
    batch: int = 2,
    channels: int = 5,
    length: int = 37,
    n: int = 3,
    groups: int | None = None,
    order: Order = "none",
    cu_seqlens: list[int] | None = None,
    bare: bool = False,
) -> dict[str, Any]:
    """``bare``: nothing optional."""
    draw = Draw()
    paths, own = _paths(order)
    grouped = () if groups is None else (groups,)
    tokens = (batch, *own, channels, length)
    over_time = (batch, *paths, *grouped, n, length)
    delta = draw.normal(batch, *paths, channels, length)
    given = {
        "u": draw.normal(*tokens),
        "delta": delta.abs() / 10 if bare else delta,
        "A": -draw.normal(*paths, channels, n).exp(),
        "B": draw.normal(*over_time),
        "C": draw.normal(*over_time),
    }
    if not bare:
        rows = batch if cu_seqlens is None else len(cu_seqlens) - 1
        given |= {
            "D": draw.normal(*paths, channels),
            "z": draw.normal(*tokens),
            "delta_bias": draw.normal(*paths, channels),
            "initial_state": draw.normal(rows, *paths, channels, n),
            "delta_softplus": True,
        }
    return given | _common(draw, order, batch, length, cu_seqlens)


def ssd(
    batch: int = 2,
    heads: int = 3,
    p: int = 5,
    length: int = 37,
    n: int = 7,
    groups: tuple[int, int] = (1, 1),
    order: Order = "none",
    cu_seqlens: list[int] | None = None,
    seq_idx: list[list[int]] | None = None,
    skip: int = 1,
    dt_limit: tuple[float, float] | None = None,
    bare: bool = False,
) -> dict[str, Any]:
    """``groups`` of B and of C; ``skip``: dimensions of D without those of the paths."""
    draw = Draw()
    paths, own = _paths(order)
    tokens = (batch, *own, length, heads, p)
    given = {
        "x": draw.normal(*tokens),
        "dt": draw.normal(batch, *paths, length, heads),
        "A": -draw.normal(*paths, heads).exp(),
        "B": draw.normal(batch, *paths, length, groups[0], n),
        "C": draw.normal(batch, *paths, length, groups[1], n),
        "chunk_size": 64,
    }
    if not bare:
        rows = batch if cu_seqlens is None else len(cu_seqlens) - 1
        given |= {
            "D": draw.normal(*{1: (heads,), 2: (heads, p), 3: (*paths, heads, p)}[skip]),
            "z": draw.normal(*tokens),
            "dt_bias": draw.normal(*paths, heads),
            "initial_states": draw.normal(rows, *paths, heads, p, n),
            "dt_softplus": True,
        }
    if dt_limit is not None:
        given["dt_limit"] = dt_limit
    if seq_idx is not None:
        given["seq_idx"] = torch.tensor(seq_idx)
    return given | _common(draw, order, batch, length, cu_seqlens)


def causal_conv1d(
    batch: int = 2,
    channels: int = 5,
    length: int = 37,
    width: int = 4,
    order: Order = "none",
    cu_seqlens: list[int] | None = None,
    seq_idx: list[list[int]] | None = None,
    channels_last: bool = False,
    bare: bool = False,
) -> dict[str, Any]:
    """``channels_last``: the tokens lie one after another in memory."""
    draw = Draw()
    paths, own = _paths(order)
    x = draw.normal(batch, *own, length, channels).transpose(-1, -2)
    given = {
        "x": x if channels_last else x.contiguous(),
        "weight": draw.normal(*paths, channels, width),
    }
    if not bare:
        rows = batch if cu_seqlens is None else len(cu_seqlens) - 1
        given |= {
            "bias": draw.normal(*paths, channels),
            "initial_states": draw.normal(rows, *paths, channels, width - 1),
            "activation": "silu",
        }
    if seq_idx is not None:
        given["seq_idx"] = torch.tensor(seq_idx)
    return given | _common(draw, order, batch, length, cu_seqlens)


def rms_norm_gated(
    shape: tuple[int, ...] = (3, 5, 16),
    group_size: int | None = None,
    norm_before_gate: bool = False,
    bare: bool = False,
) -> dict[str, Any]:
    """The gate is a half of wider rows, as behind one projection."""
    draw = Draw()
    channels = shape[-1]
    given = {
        "x": draw.normal(*shape),
        "weight": draw.normal(channels),
        "group_size": group_size,
        "norm_before_gate": norm_before_gate,
    }
    if not bare:
        z = draw.normal(*shape[:-1], 2 * channels)[..., channels:]
        given |= {"bias": draw.normal(channels), "z": z}
    return given


CASES: dict[str, list[dict[str, Any]]] = {
    "selective_scan": [
        {},
        {"length": 1},
        {"length": 65, "channels": 17, "n": 16},
        {"length": 130, "channels": 35, "groups": 5},
        {"length": 70, "order": "shared"},
        {"length": 70, "channels": 20, "order": "own"},
        {"order": "per item", "groups": 1},
        {"length": 131, "channels": 16, "order": "reversed"},
        {"batch": 1, "length": 150, "cu_seqlens": [0, 0, 1, 70, 70, 149, 150]},
        {"batch": 1, "length": 100, "channels": 19, "cu_seqlens": [0, 66, 100], "order": "shared"},
        {"bare": True},
        {"n": 1},
        {"n": 40, "channels": 16},
    ],
    "ssd": [
        {},
        {"length": 1},
        {"length": 16, "p": 16, "n": 16},
        {"length": 129, "skip": 2},
        {"length": 300, "heads": 4, "groups": (2, 2), "p": 32, "n": 32},
        {"length": 150, "heads": 6, "groups": (3, 1), "p": 19, "n": 40},
        {"length": 70, "order": "shared", "skip": 3},
        {"length": 140, "heads": 8, "p": 16, "order": "own"},
        {"order": "per item"},
        {"length": 131, "order": "reversed"},
        {"batch": 1, "length": 300, "cu_seqlens": [0, 0, 1, 150, 150, 299, 300]},
        {"batch": 1, "length": 150, "cu_seqlens": [0, 66, 150], "order": "shared"},
        {"seq_idx": [[0] * 10 + [1] * 27, [3] * 37]},
        {"bare": True},
        {"n": 1, "p": 1},
        {"dt_limit": (0.3, 1.0)},
        {"batch": 1, "length": 140, "heads": 2, "p": 64, "n": 128},
    ],
    "causal_conv1d": [
        {},
        {"length": 1},
        {"length": 2},
        {"length": 129, "channels": 33},
        {"length": 140, "channels": 32, "channels_last": True},
        {"length": 70, "order": "shared"},
        {"length": 70, "channels": 16, "order": "own"},
        {"order": "per item"},
        {"length": 140, "channels": 32, "order": "reversed"},
        {"batch": 1, "length": 300, "cu_seqlens": [0, 0, 1, 150, 150, 299, 300]},
        {"batch": 1, "length": 150, "cu_seqlens": [0, 66, 150], "order": "shared"},
        {"seq_idx": [[0] * 10 + [1] * 27, [3] * 37]},
        {"bare": True},
        {"width": 1},
        {"width": 2, "order": "shared"},
        {"width": 100, "length": 200},
        {"width": 7, "length": 3},
    ],
    "rms_norm_gated": [
        {},
        {"shape": (7, 33)},
        {"shape": (7, 33), "group_size": 11, "norm_before_gate": True},
        {"shape": (4, 40), "group_size": 20},
        {"shape": (50, 64), "norm_before_gate": True},
        {"bare": True},
    ],
}
MAKE = {
    "selective_scan": selective_scan,
    "ssd": ssd,
    "causal_conv1d": causal_conv1d,
    "rms_norm_gated": rms_norm_gated,
}


def make(op: str, **sizes: Any) -> dict[str, Any]:
    """The arguments of a call by name."""
    return MAKE[op](**sizes)
