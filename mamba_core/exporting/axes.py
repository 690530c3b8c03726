"""The open axes of an exported graph: their names, and inputs of other sizes to try it on."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_LONGER = 3
"""By how much an open axis is lengthened for the second comparison; odd, so that sizes which are
no multiple of a patch are tried."""


def axis_names(declared: str, dims: int, config: Container[str]) -> list[str]:
    """Read the axes off a record's text such as ``float[batch, in_chans, height, width]``.

    :param config: names of the model's fields; an axis called like one has that size.
    :returns: one name per axis, empty for an axis that is not free.
    """
    found = re.search(r"\[(.*)\]", declared)
    names = [part.strip() for part in found[1].split(",")] if found else []
    if len(names) != dims:
        return ["batch", *[""] * (dims - 1)]
    return ["" if name in config or not name.isidentifier() else name for name in names]


def _sizes(program: Any, name: str) -> Sequence[Any]:
    node = next(n for n in program.graph.nodes if n.op == "placeholder" and n.target == name)
    return node.meta["val"].shape


def open_axes(program: Any, name: str) -> list[int]:
    """Return the axes of an input that may have other sizes."""
    return [k for k, size in enumerate(_sizes(program, name)) if isinstance(size, torch.SymInt)]


def describe_axes(program: Any, names: Mapping[str, Sequence[str]]) -> dict[str, list[int | str]]:
    """Return the sizes of every input: a number, or the axis' name where any size goes."""
    described: dict[str, list[int | str]] = {}
    for name, axes in names.items():
        free = set(open_axes(program, name))
        described[name] = [
            (axes[k] or f"axis{k}") if k in free else int(size)
            for k, size in enumerate(_sizes(program, name))
        ]
    return described


def moved_sizes(
    program: Any, inputs: Mapping[str, Tensor], names: Mapping[str, Sequence[str]]
) -> dict[str, Tensor] | None:
    """Return inputs whose open axes are longer, each by another amount; None where none is open.

    Axes of one name stay equal. The values are those of ``inputs``, repeated.
    """
    symbols: dict[str, int] = {}
    moved = {}
    for name, value in inputs.items():
        for k in open_axes(program, name):
            symbol = str(_sizes(program, name)[k])
            more = symbols.setdefault(symbol, _LONGER + 2 * len(symbols))
            value = value.index_select(k, torch.arange(value.shape[k] + more) % value.shape[k])
        moved[name] = value
    return moved if symbols else None
