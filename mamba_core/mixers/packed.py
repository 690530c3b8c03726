"""Packed sequences for any mixer, whether or not it knows of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn


def mix_packed(mixer: nn.Module, x: Tensor, cu_seqlens: Tensor | None, **given: Any) -> Tensor:
    """Call a mixer on rows, or on sequences packed into one row.

    A mixer whose ``forward`` has no ``cu_seqlens`` reads one sequence after another, so that a
    user's short mixer is right wherever a packed one is, if slower.

    :param x: ``(B, L, d_model)``; packed ``(1, sum of L, d_model)`` with ``cu_seqlens``.
    :param cu_seqlens: int ``(sequences + 1,)``, or None.
    :param given: further arguments of its ``forward``.
    :returns: a tensor like ``x``.
    """
    if cu_seqlens is None:
        return mixer(x, **given)
    if _knows_packing(type(mixer).forward):
        return mixer(x, cu_seqlens=cu_seqlens, **given)
    lengths = [length for length in cu_seqlens.diff().tolist() if length]
    parts = [mixer(part, **given) for part in x.split(lengths, dim=1)]
    return torch.cat(parts, dim=1) if parts else x


@lru_cache
def _knows_packing(forward: Callable[..., Tensor]) -> bool:
    parameters = inspect.signature(forward).parameters
    return "cu_seqlens" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
