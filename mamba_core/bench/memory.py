"""How much memory a call takes at most, as the operating system or a GPU's allocator counts it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_PROCESS = Path("/proc/self")


def extra_bytes(call: Callable[[], Any]) -> int | None:
    """Largest memory during the call less that before it; None without Linux and glibc.

    Its result is part of it. The call is made once before, for what is loaded at first use.
    """
    call()
    try:
        _give_back()
        (_PROCESS / "clear_refs").write_text("5")  # forgets the largest size so far
    except (OSError, AttributeError):
        return None
    before = _kilobytes("VmRSS")
    result = call()
    after = _kilobytes("VmHWM")
    del result
    return (after - before) * 1024


def extra_device_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """The same on a GPU, of what torch has handed out; as in :func:`extra_bytes`."""
    import torch

    call()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = call()
    torch.cuda.synchronize(device)
    after = torch.cuda.max_memory_allocated(device)
    del result
    return after - before


def _give_back() -> None:
    """Return to the system what the C library keeps: from there, a call would take it unseen."""
    ctypes.CDLL(None).malloc_trim(0)


def _kilobytes(name: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
