"""The little language of ``inputs`` and ``outputs``: ``float[batch, samples]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_TYPE = re.compile(r"(?P<kind>float|int|bool|complex)\d*\[(?P<dims>[^\]]*)\]")


def parse_declared(text: str) -> tuple[str, tuple[str, ...]]:
    """Split ``"float[batch, samples] mixture"`` into ``("float", ("batch", "samples"))``.

    Dimensions are names or numbers; text after the bracket is for people.

    :raises AssertionError: for text of another form.
    """
    match = _TYPE.match(text)
    assert match, (
        f"{text!r} declares no tensor: write float, int, bool or complex and the dimensions, "
        "for instance 'float[batch, samples]'"
    )
    dims = tuple(dim.strip() for dim in match["dims"].split(",") if dim.strip())
    return match["kind"], dims


def check_declared(
    tensors: Mapping[str, Tensor], declared: Mapping[str, str], sizes: dict[str, int], config: Any
) -> None:
    """Hold tensors against their declaration.

    :param sizes: name of a dimension -> size, filled as names are met; one name has one size
        across all inputs and outputs.
    :param config: a dimension named like one of its integer fields has that size.
    :raises AssertionError: naming the tensor and what differs.
    """
    for name, text in declared.items():
        assert name in tensors, f"'{name}' is declared but missing; there are {sorted(tensors)}"
        kind, dims = parse_declared(text)
        tensor = tensors[name]
        assert _kind(tensor) == kind, f"'{name}' is {tensor.dtype}, declared as {text!r}"
        assert tensor.dim() == len(dims), (
            f"'{name}' has shape {tuple(tensor.shape)}, declared as {text!r}"
        )
        for dim, size in zip(dims, tensor.shape, strict=True):
            expected = _expected(dim, size, sizes, config)
            assert size == expected, (
                f"'{name}' has shape {tuple(tensor.shape)}: '{dim}' of {text!r} is {size}, "
                f"elsewhere {expected}"
            )


def _expected(dim: str, size: int, sizes: dict[str, int], config: Any) -> int:
    if dim.isdigit():
        return int(dim)
    field = getattr(config, dim, None)
    if isinstance(field, int) and not isinstance(field, bool):
        return field
    return sizes.setdefault(dim, size)


def _kind(tensor: Tensor) -> str:
    if tensor.is_floating_point():
        return "float"
    if tensor.is_complex():
        return "complex"
    return "bool" if str(tensor.dtype) == "torch.bool" else "int"
