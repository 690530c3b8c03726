"""Moving tokens along paths: for mixers that cannot apply an order themselves, and for parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core.mixers.base import ScanMixer


def scan_each(
    readers: Sequence[nn.Module],
    xs: Sequence[Tensor],
    order: Tensor,
    cu_seqlens: Tensor | None,
) -> list[Tensor]:
    """Let reader k mix tokens k along path k.

    Mamba mixers are run together, in one call of each op; others one by one on permuted copies.

    :param xs: K tensors ``(B, L, width)``.
    :param order: int64 ``(K, L)`` or ``(B, K, L)``.
    :returns: K tensors like those of ``xs``, in token order.
    """
    first = readers[0]
    if not isinstance(first, ScanMixer):
        return [
            read_along(reader, x, order[..., k, :], cu_seqlens)
            for k, (reader, x) in enumerate(zip(readers, xs, strict=True))
        ]
    projected = [reader.project(x) for reader, x in zip(readers, xs, strict=True)]  # type: ignore[operator]
    inputs = map_inputs(lambda *t: torch.stack(t, dim=1), *(given for given, _ in projected))
    y, _ = first.scan(inputs, order=order, paths=readers, cu_seqlens=cu_seqlens)
    return [
        reader.combine(y[:, k], gate)  # type: ignore[operator]
        for k, (reader, (_, gate)) in enumerate(zip(readers, projected, strict=True))
    ]


def read_along(
    mixer: nn.Module, x: Tensor, order: Tensor, cu_seqlens: Tensor | None = None
) -> Tensor:
    """Gather along one path, mix, put back: works with any mixer, and says what the others do.

    :param x: ``(B, L, D)``.
    :param order: int64 ``(L,)`` or ``(B, L)``.
    """
    index = order.expand(x.shape[0], -1)[..., None].expand(-1, -1, x.shape[-1])
    packed = {} if cu_seqlens is None else {"cu_seqlens": cu_seqlens}
    y = mixer(x.gather(1, index), **packed)
    return torch.zeros_like(y).scatter(1, index, y)


def map_inputs(change: Callable[..., Tensor], *inputs: Any) -> Any:
    """Apply a function to what :meth:`ScanMixer.project` returns, a tensor or a named tuple."""
    if isinstance(inputs[0], Tensor):
        return change(*inputs)
    return type(inputs[0])(*(change(*tensors) for tensors in zip(*inputs, strict=True)))


def take(x: Tensor, order: Tensor) -> Tensor:
    """Copy the tokens of each path, zeros for -1: ``(B, L, D) -> (B, K, M, D)``."""
    tokens = x[:, order.clamp(min=0)]
    return tokens.masked_fill((order < 0)[..., None], 0)


def put(y: Tensor, order: Tensor, length: int) -> Tensor:
    """Put the paths' outputs in their places: ``(B, K, M, D) -> (B, length, D)``."""
    here = order >= 0
    return y.new_zeros(y.shape[0], length, y.shape[-1]).index_copy(1, order[here], y[:, here])


def check_parts(order: Tensor, length: int) -> None:
    """Raise ``ValueError`` unless the paths together read each of ``length`` tokens once.

    Only on the CPU, where looking does not wait for a device.
    """
    if order.device.type != "cpu":
        return
    tokens = order[order >= 0].sort().values
    if not torch.equal(tokens, torch.arange(length)):
        raise ValueError(
            f"order has {order.shape[0]} paths with {len(tokens)} tokens in all, x has {length}: "
            "paths of another length than x, or merged by 'scatter', share the tokens out and "
            "read each once"
        )


def folded(
    x: Tensor, shape: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Make each slice of some axes a sequence of its own.

    :param x: ``(B, L, D)``, tokens of the grid ``shape``.
    :returns: ``(B * slices, L / slices, D)``, and the way back.
    """
    if math.prod(shape) != x.shape[1]:
        raise ValueError(f"the grid {shape} has {math.prod(shape)} tokens, x has {x.shape[1]}")
    there = [axis + 1 for axis in axes]
    front = list(range(1, len(axes) + 1))
    grid = x.unflatten(1, shape).movedim(there, front)

    def unfold(y: Tensor) -> Tensor:
        return y.reshape(grid.shape).movedim(front, there).flatten(1, -2)

    return grid.flatten(len(axes) + 1, -2).flatten(0, len(axes)), unfold
