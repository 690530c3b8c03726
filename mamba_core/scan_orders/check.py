"""Refuse an order that is not one, naming the first index that is wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_core.scan_orders.rank import Rank
from mamba_registry.errors import ScanOrderError


def check_order(order: object, length: int, *, name: str = "order") -> Tensor:
    """Return ``order`` if each of its rows is a permutation of ``0 .. length-1``.

    :param order: what should be an int64 tensor ``(..., length)``.
    :param name: how the message calls it.
    :raises ScanOrderError: for anything else: another type or dtype, another length, an id out
        of range, an id twice. The message holds the first offending index.
    """
    if isinstance(order, Rank):
        raise ScanOrderError(
            f"{name} is a Rank (token -> position); an order (position -> token) belongs here"
        )
    if not isinstance(order, Tensor):
        raise ScanOrderError(f"{name} is a {type(order).__name__}; an int64 tensor belongs here")
    if order.dtype != torch.int64:
        raise ScanOrderError(f"{name} has dtype {order.dtype}; token ids are int64")
    if order.dim() < 1 or order.shape[-1] != length:
        raise ScanOrderError(
            f"{name} has shape {tuple(order.shape)}; its last axis must be the {length} tokens"
        )
    for path, row in enumerate(order.reshape(-1, length)):
        _check_permutation(row, length, f"{name}[{path}]")
    return order


def _check_permutation(row: Tensor, length: int, name: str) -> None:
    wrong = ((row < 0) | (row >= length)).nonzero()
    if len(wrong):
        k = int(wrong[0])
        raise ScanOrderError(f"{name}[{k}] = {int(row[k])}: token ids run from 0 to {length - 1}")
    if len(row) == 0:
        return
    by_token, steps = torch.sort(row, stable=True)
    again = (by_token[1:] == by_token[:-1]).nonzero().flatten()
    if len(again):
        k = int(steps[again + 1].min())
        raise ScanOrderError(
            f"{name}[{k}] = {int(row[k])}: this token was already read at an earlier step; "
            "an order reads every token once"
        )
