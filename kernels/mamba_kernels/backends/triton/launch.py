"""What all launches share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from mamba_kernels.backends.layout import bounds_of, check_order

Result = TypeVar("Result")


@functools.cache
def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on CPU tensors."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def on_device(compute: Callable[..., Result]) -> Callable[..., Result]:
    """``compute`` with the device of its first tensor as the current one: Triton launches there."""

    @functools.wraps(compute)
    def run(*args: Any) -> Result:
        device = next(a.device for a in args if isinstance(a, Tensor))
        if device.type != "cuda":
            return compute(*args)
        with torch.cuda.device(device):
            return compute(*args)

    return run


@functools.cache
def fast() -> bool:
    """Whether the device knows NVIDIA's approximate instructions."""
    return torch.version.hip is None and not interpreted()


@functools.cache
def roomy() -> bool:
    """Whether the compiler fits tiles of 64 steps of SSD's backward into registers: Hopper and
    later, where operands of products stay in shared memory."""
    return fast() and torch.cuda.get_device_capability() >= (9, 0)


@functools.cache
def chunk_warps() -> int:
    """Warps of a program of SSD inside the chunks. AMD's are twice as wide and have twice the
    registers, if there are half as many."""
    return 4 if torch.version.hip else 8


def multiprocessors() -> int:
    """Of the current device; none in the interpreter, where nothing runs at once."""
    if interpreted():
        return 0
    return torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count


def power_of_two(n: int) -> int:
    """The smallest power of two that is at least ``n``."""
    return 1 << max(n - 1, 0).bit_length()


def strides(x: Tensor | None, dims: int, paths: bool) -> tuple[int, ...]:
    """Strides of ``x`` with a path among its ``dims`` dimensions; 0 where all paths share.

    :param dims: dimensions of x when it has one for the paths.
    :param paths: where that one is: second (there is a batch before it), or first.
    """
    if x is None:
        return (0,) * dims
    at: tuple[int, ...] = x.stride()
    if x.dim() == dims:
        return at
    return (at[0], 0, *at[1:]) if paths else (0, *at)


def tiled(x: Tensor | None, length: int, *, plain: bool) -> bool:
    """Whether the kernels may read ``x`` in wide accesses along its last dimension, time.

    :param plain: nothing permutes or cuts the time.
    """
    if x is None or not plain or length % 16 or x.stride(-1) != 1:
        return False
    aligned = all(stride % 16 == 0 for stride in x.stride()[:-1])
    return aligned and x.data_ptr() % 16 == 0


def zero(shape: Sequence[int], like: Tensor) -> Tensor:
    """A zero of any shape that takes no memory."""
    return like.new_zeros(()).expand(shape)


def check_on_cpu(order: Tensor | None, cu_seqlens: Tensor | None, length: int) -> None:
    """The checks of order and cu_seqlens where looking is free: with the interpreter.

    On a device they would wait for it; there the kernels clamp the edges instead.
    """
    tensor = order if order is not None else cu_seqlens
    if tensor is not None and tensor.device.type == "cpu":
        check_order(order, bounds_of(cu_seqlens, length))
