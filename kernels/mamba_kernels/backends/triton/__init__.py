"""Kernels in Triton for NVIDIA and AMD GPUs; ``kernels/`` holds what runs on the device."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mamba_kernels.backends import Call

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _capability() -> tuple[int, int]:
    """Of the current NVIDIA device; AMD's numbers mean something else and always suffice."""
    return (9, 9) if torch.version.hip else torch.cuda.get_device_capability()


def refusal(call: Call) -> str | None:
    """Why these kernels do not compute a call, or None."""
    if not _installed():
        return "triton is not installed: pip install triton (Linux)"
    if call.device == "cpu":
        if os.environ.get("TRITON_INTERPRET", "0") != "1":
            return "triton computes on a GPU (on a CPU only in its interpreter, TRITON_INTERPRET=1)"
    elif call.device != "cuda":
        return f"triton computes on NVIDIA and AMD GPUs, these tensors are on {call.device}"
    elif _capability() < (8, 0):
        return "triton needs an NVIDIA GPU of compute capability 8.0 (Ampere) or later"
    if "complex" in call.features:
        return "triton computes real A only"
    if "constant" in call.features:
        return "triton needs B and C that change over time"
    if "double" in call.features or call.dtype == torch.float64:
        return "triton computes in float32: float64 is left to eager"
    if call.dtype not in _DTYPES:
        return f"triton takes float32, bfloat16 and float16, not {call.dtype}"
    return None
