"""What the library is handed: the structures of ``kernels/native/src/abi.h``, field by field."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int64: 3}
"""``enum Dtype``."""
_DIMENSIONS = 5
_ABSENT = (0,) * (2 + _DIMENSIONS)
_MOST_FORMS = 256
_PADDING = tuple((0,) * n for n in range(_DIMENSIONS + 1))


def describe(t: Tensor | None, *axes: int | None) -> tuple[int, ...]:
    """``struct Tensor``: address, dtype, and one stride for each of ``axes``.

    :param axes: for each dimension of the structure's field, the tensor's own; None broadcasts.
    """
    if t is None:
        return _ABSENT
    strides = t.stride()
    taken = (0 if axis is None else strides[axis] for axis in axes)
    return (t.data_ptr(), DTYPES[t.dtype], *taken, *_PADDING[_DIMENSIONS - len(axes)])


def plain(t: Tensor | None) -> tuple[int, ...]:
    """A tensor that has all dimensions of its field."""
    if t is None:
        return _ABSENT
    strides = t.stride()
    return (t.data_ptr(), DTYPES[t.dtype], *strides, *_PADDING[_DIMENSIONS - len(strides)])


def dense(t: Tensor, *sizes: int) -> tuple[int, ...]:
    """A flat tensor that holds an array of ``sizes``."""
    strides = [1]
    for size in reversed(sizes[1:]):
        strides.insert(0, strides[0] * size)
    return (t.data_ptr(), DTYPES[t.dtype], *strides, *_PADDING[_DIMENSIONS - len(sizes)])


def per_path(t: Tensor | None, dims: int, path: int = 1) -> tuple[int, ...]:
    """A tensor of ``dims`` dimensions, or of one less: then all paths share it.

    :param path: where the dimension of the paths is, or would be.
    """
    if t is None:
        return _ABSENT
    axes: list[int | None] = list(range(t.dim()))
    if t.dim() < dims:
        axes.insert(path, None)
    return describe(t, *axes)


@dataclass(frozen=True)
class Layout:
    """A structure: tensors, then integers, then doubles."""

    tensors: tuple[str, ...]
    integers: tuple[str, ...]
    doubles: tuple[str, ...] = ()
    _format: struct.Struct = field(init=False, repr=False)
    _numbers: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        words = len(self.tensors) * len(_ABSENT) + len(self.integers)
        object.__setattr__(self, "_numbers", (*self.integers, *self.doubles))
        object.__setattr__(self, "_format", struct.Struct(f"={words}q{len(self.doubles)}d"))

    def pack(self, tensors: dict[str, tuple[int, ...]], **numbers: Any) -> bytes:
        """The structure's bytes; tensors that are not named are absent."""
        words = chain.from_iterable([tensors.get(name, _ABSENT) for name in self.tensors])
        values = [numbers[name] for name in self._numbers]
        return self._format.pack(*words, *values)

    def moved(self, call: bytes, tensors: Sequence[Tensor | None]) -> bytes:
        """A packed call again, for tensors of the same forms at other addresses.

        :param tensors: all of :attr:`tensors`, in their order.
        """
        words = array("q", call)
        place = 0
        for t in tensors:
            if t is not None:
                words[place] = t.data_ptr()
            place += len(_ABSENT)
        return words.tobytes()


class Packed:
    """Packed calls by the form of their tensors: a decoder makes the same call for each token."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._calls: dict[tuple[object, ...], bytes] = {}

    def __call__(
        self, tensors: Sequence[Tensor | None], form: tuple[object, ...], pack: Callable[[], bytes]
    ) -> bytes:
        """The call with these tensors.

        :param tensors: all of the layout's, in its order.
        :param form: all that a call says besides addresses, dtypes and strides: sizes and flags.
        :param pack: makes a call of a form that was not seen before.
        """
        key = (form, *[None if t is None else (t.dtype, t.stride()) for t in tensors])
        known = self._calls.get(key)
        if known is not None:
            return self._layout.moved(known, tensors)
        if len(self._calls) >= _MOST_FORMS:
            self._calls.clear()
        call = self._calls[key] = pack()
        return call


SELECTIVE_SCAN = Layout(
    (
        "u", "delta", "z", "A", "B", "C", "D", "delta_bias", "initial", "order", "out", "last",
        "saved", "packed", "edges", "dout", "dlast", "du", "ddelta", "dz", "dA", "dB", "dC", "dD",
        "dbias", "dinitial",
    ),
    (
        "batch", "paths", "channels", "groups", "states", "length", "sequences", "shards",
        "softplus",
    ),
)  # fmt: skip

SSD = Layout(
    (
        "x", "z", "dt", "A", "dt_bias", "B", "C", "D", "initial", "order", "out", "last", "saved",
        "edges", "dout", "dlast", "dx", "dz", "ddt", "dA", "dbias", "dB", "dC", "dD", "dinitial",
    ),
    (
        "batch", "paths", "heads", "groups", "width", "states", "length", "sequences", "shards",
        "softplus",
    ),
    ("dt_min", "dt_max"),
)  # fmt: skip

CONV = Layout(
    (
        "x", "weight", "bias", "initial", "order", "out", "last", "edges", "dout", "dlast", "dx",
        "dweight", "dbias", "dinitial",
    ),
    ("batch", "paths", "channels", "width", "length", "sequences", "silu"),
)  # fmt: skip

NORM = Layout(
    ("x", "z", "out", "weight", "bias", "dout", "dx", "dz", "dweight", "dbias"),
    ("rows", "channels", "group_size", "norm_before_gate", "shards"),
    ("eps",),
)

STEP = Layout(
    ("state", "x", "dt", "z", "out", "A", "B", "C", "D", "dt_bias", "indices"),
    ("batch", "heads", "groups", "width", "states", "tokens", "softplus"),
)

CONV_STEP = Layout(
    ("x", "out", "state", "weight", "bias", "indices"),
    ("batch", "channels", "width", "kept", "steps", "silu"),
)
