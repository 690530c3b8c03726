"""Compiled kernels for CPUs: C++ with SIMD over channels, in the package mamba-kernels-native."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from mamba_kernels.backends import Call

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def refusal(call: Call) -> str | None:
    """Why these kernels do not compute a call, or None."""
    if call.device != "cpu":
        return f"native computes on the CPU only, these tensors are on {call.device}"
    if "complex" in call.features:
        return "native computes real A only"
    if "constant" in call.features:
        return "native needs B and C that change over time"
    if "double" in call.features or call.dtype == torch.float64:
        return "native computes in float32: float64 is left to eager"
    if call.dtype not in _DTYPES:
        return f"native takes float32, bfloat16 and float16, not {call.dtype}"
    from mamba_kernels.backends.native._library import unavailable

    return unavailable()


def library_status() -> tuple[str | None, str | None]:
    """The instruction sets of the loaded library, the one in use first; or why there is none."""
    from mamba_kernels.backends.native import _library

    reason = _library.unavailable()
    if reason is not None:
        return None, reason
    used = _library.isa_in_use()
    others = [isa for isa in _library.isas() if isa != used]
    return f"{used} in use, {', '.join(others)} possible", None
