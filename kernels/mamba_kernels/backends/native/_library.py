"""The shared library: found, loaded, and called."""

from __future__ import annotations

import ctypes
import functools
import os
from itertools import pairwise

import torch
from torch import Tensor

from mamba_kernels.backends.layout import bounds_of, check_order

ISA = "MAMBA_NATIVE_ISA"
"""Environment variable: the instruction set to use, instead of the best one this CPU has."""
VERSION = 2
"""The library's interface that ``_abi.py`` describes."""
INSTALL = "python -m pip install --force-reinstall --no-deps --no-cache-dir mamba-kernels-native"
KERNELS = (
    "scan_pack",
    "scan_forward",
    "scan_backward",
    "ssd_forward",
    "ssd_backward",
    "conv_forward",
    "conv_backward",
    "norm_forward",
    "norm_backward",
    "step",
    "conv_step",
)
"""The kernels, in the order of ``struct Kernels`` in ``abi.h``."""

_NUMBER = {name: number for number, name in enumerate(KERNELS)}
_WORTH_A_THREAD = 1 << 18


class Unavailable(Exception):
    """There is no library to be used; says why, and what to do."""


@functools.cache
def _load() -> ctypes.CDLL | Unavailable:
    try:
        import mamba_kernels_native as package
    except ImportError:
        return Unavailable(f"the package mamba-kernels-native is not installed: {INSTALL}")
    if package.LIBRARY is None:
        return Unavailable(str(package.REASON))
    try:
        library = ctypes.CDLL(str(package.LIBRARY))
        library.mamba_native_version.restype = ctypes.c_int64
        version = library.mamba_native_version()
    except (OSError, AttributeError) as error:
        return Unavailable(f"{package.LIBRARY.name} does not load: {error}. {INSTALL}")
    if version != VERSION:
        return Unavailable(
            f"mamba-kernels-native has interface {version}, mamba_kernels needs {VERSION}: "
            f"{INSTALL}"
        )
    library.mamba_native_isa.restype = ctypes.c_char_p
    library.mamba_native_in_use.restype = ctypes.c_char_p
    library.mamba_native_run.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int64)
    library.mamba_native_order_is_good.argtypes = (
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_int64,
    )
    wanted = os.environ.get(ISA)
    if wanted and not library.mamba_native_use(wanted.encode()):
        known = ", ".join(_isas(library))
        return Unavailable(f"{ISA}={wanted} cannot run here: unset it, or take one of {known}")
    return library


def _isas(library: ctypes.CDLL) -> list[str]:
    names: list[str] = []
    while (name := library.mamba_native_isa(len(names))) is not None:
        names.append(name.decode())
    return names


def library() -> ctypes.CDLL:
    """The loaded library.

    :raises Unavailable: if there is none.
    """
    found = _load()
    if isinstance(found, Unavailable):
        raise found
    return found


def unavailable() -> str | None:
    """Why there is no library, or None."""
    found = _load()
    return str(found) if isinstance(found, Unavailable) else None


def isas() -> list[str]:
    """Instruction sets that the library holds and this CPU has, best first."""
    return _isas(library())


def isa_in_use() -> str:
    """The instruction set of later calls."""
    return library().mamba_native_in_use().decode()


def use_isa(name: str) -> None:
    """Use another instruction set from now on, in the whole process; for tests."""
    if not library().mamba_native_use(name.encode()):
        raise ValueError(f"{name} cannot run here: take one of {', '.join(isas())}")


def run(kernel: str, call: bytes, work: int | None = None) -> None:
    """Run one kernel on as many threads as torch uses.

    :param call: the packed fields of its structure, see ``_abi.py``.
    :param work: multiply-adds, where they can be so few that starting a thread costs more.
    """
    small = work is not None and work < _WORTH_A_THREAD
    threads = 1 if small else torch.get_num_threads()
    status = library().mamba_native_run(_NUMBER[kernel], call, threads)
    if status == 1:
        raise MemoryError(f"{kernel}: no memory for its workspace")
    if status:
        raise RuntimeError(f"{kernel}: the library answers with status {status}")


def edges_of(cu_seqlens: Tensor | None, length: int) -> Tensor:
    """Borders of the packed sequences, int64 ``(S + 1,)``; one sequence when nothing is packed."""
    if cu_seqlens is None:
        return torch.tensor([0, length])
    bounds_of(cu_seqlens, length)  # raises
    return cu_seqlens.to(torch.int64).contiguous()


def checked_order(order: Tensor | None, edges: Tensor) -> Tensor | None:
    """The order, contiguous, after a look at every index: a wrong one would write anywhere."""
    if order is None:
        return None
    order = order.contiguous()
    length, sequences = order.shape[-1], edges.shape[0] - 1
    rows = order.numel() // max(length, 1)
    if not library().mamba_native_order_is_good(
        order.data_ptr(), rows, length, edges.data_ptr(), sequences
    ):
        borders = edges.tolist()
        check_order(order, list(pairwise(borders)))
        raise ValueError("order must read each token of each sequence once")
    return order
