"""Refuse an order that is not one, naming the first index that is wrong."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mamba_core.scan_orders.rank import Rank
from mamba_registry.errors import ScanOrderError
from mamba_registry.specs import Cover


def check_order(order: object, length: int, *, name: str = "order") -> Tensor:
    """Return ``order`` if each of its rows is a permutation of ``0 .. length-1``.

    :param order: what should be an int64 tensor ``(..., length)``.
    :param name: how the message calls it.
    :raises ScanOrderError: for anything else: another type or dtype, another length, an id out
        of range, an id twice. The message holds the first offending index.
    """
    table = _check_type(order, name)
    if table.dim() < 1 or table.shape[-1] != length:
        raise ScanOrderError(
            f"{name} has shape {tuple(table.shape)}; its last axis must be the {length} tokens"
        )
    for path, row in enumerate(table.reshape(-1, length)):
        steps = torch.arange(length, device=row.device)
        _check_each_once(row, length, f"{name}[{path}]", steps[:, None])
    return table


def check_cover(order: object, length: int, cover: Cover, *, name: str = "order") -> Tensor:
    """Return ``order`` if it reads what its cover says; see :data:`mamba_registry.specs.Cover`.

    :param order: what should be an int64 tensor ``(K, M)``.
    :raises ScanOrderError: with the first offending index, as for :func:`check_order`.
    """
    whole = cover == "all"
    table = check_order(order, length, name=name) if whole else _check_type(order, name)
    if table.dim() != 2:
        raise ScanOrderError(
            f"{name} has shape {tuple(table.shape)}; paths are (K, L) = (K, {length})"
        )
    if cover == "partition":
        _check_partition(table, length, name)
    elif cover == "padded":
        for path, row in enumerate(table):
            places = (row >= 0).nonzero().flatten()
            _check_complete(row[places], length, f"{name}[{path}]")
            _check_each_once(row[places], length, f"{name}[{path}]", places[:, None])
    return table


def check_same(first: Tensor, second: Tensor, name: str) -> None:
    """Refuse an order that came out differently when it was built a second time."""
    if first.shape != second.shape:
        raise ScanOrderError(
            f"{name} is not deterministic: shape {tuple(first.shape)}, then {tuple(second.shape)}"
        )
    differs = (first != second).nonzero()
    if len(differs):
        index = tuple(differs[0].tolist())
        raise ScanOrderError(
            f"{name} is not deterministic: {_at(differs[0])} was {int(first[index])}, then "
            f"{int(second[index])}; draw from a torch.Generator with a fixed seed"
        )


def check_causal(order: Tensor, shape: tuple[int, ...], *, name: str = "order") -> None:
    """Refuse an order that cannot be streamed.

    A causal order has one path, and never reads a later step of the first axis before an
    earlier one: a model may then run while the input still arrives.

    :param order: int64 ``(K, L)``, tokens of the grid ``shape``.
    :raises ScanOrderError: with the first step that goes back in time.
    """
    if order.shape[0] != 1:
        raise ScanOrderError(f"{name} is not causal: it has {order.shape[0]} paths, not one")
    time = order[0] // max(math.prod(shape[1:]), 1)
    back = (time.diff() < 0).nonzero().flatten()
    if len(back):
        k = int(back[0]) + 1
        raise ScanOrderError(
            f"{name} is not causal: [0][{k}] = {int(order[0, k])} belongs to time step "
            f"{int(time[k])}, after one of step {int(time[k - 1])}"
        )


def _check_type(order: object, name: str) -> Tensor:
    if isinstance(order, Rank):
        raise ScanOrderError(
            f"{name} is a Rank (token -> position); an order (position -> token) belongs here"
        )
    if not isinstance(order, Tensor):
        raise ScanOrderError(f"{name} is a {type(order).__name__}; an int64 tensor belongs here")
    if order.dtype != torch.int64:
        raise ScanOrderError(f"{name} has dtype {order.dtype}; token ids are int64")
    return order


def _check_each_once(row: Tensor, length: int, name: str, places: Tensor) -> None:
    """``places (entries, axes)``: where each entry of ``row`` stands in the order ``name``."""
    wrong = ((row < 0) | (row >= length)).nonzero()
    if len(wrong):
        k = int(wrong[0])
        raise ScanOrderError(
            f"{name}{_at(places[k])} = {int(row[k])}: token ids run from 0 to {length - 1}"
        )
    by_token, steps = torch.sort(row, stable=True)
    again = (by_token[1:] == by_token[:-1]).nonzero().flatten()
    if len(again):
        k = int(steps[again + 1].min())
        raise ScanOrderError(
            f"{name}{_at(places[k])} = {int(row[k])}: this token was already read at an earlier "
            "step; an order reads every token once"
        )


def _check_complete(tokens: Tensor, length: int, name: str) -> None:
    seen = torch.zeros(length, dtype=torch.bool, device=tokens.device)
    seen[tokens[(tokens >= 0) & (tokens < length)]] = True
    missing = (~seen).nonzero().flatten()
    if len(missing):
        raise ScanOrderError(f"{name} never reads token {int(missing[0])}")


def _check_partition(table: Tensor, length: int, name: str) -> None:
    late = ((table[:, 1:] >= 0) & (table[:, :-1] < 0)).nonzero()
    if len(late):
        path, k = late[0].tolist()
        raise ScanOrderError(
            f"{name}[{path}][{k + 1}] = {int(table[path, k + 1])} follows an empty slot (-1); "
            "in a partition they stand at the end of a path"
        )
    _check_each_once(table[table != -1], length, name, (table != -1).nonzero())
    _check_complete(table, length, name)


def _at(index: Tensor) -> str:
    return "".join(f"[{i}]" for i in index.tolist())
