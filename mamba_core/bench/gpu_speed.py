"""What a GPU can do at best: bytes per second of a large copy, exponentials per second.

The exponentials are taken by a kernel of its own, because ``torch.exp`` over a tensor is bound by
memory there: every thread takes ``2 ** x`` of numbers in its registers again and again, which is
what the scan kernels use.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

_COPY = 1 << 30
"""Bytes that are copied: many times the second cache."""
_BLOCK = 1024
_STEPS = 2048
_PROGRAMS_EACH = 16
"""Programs per multiprocessor."""
_ROUNDS = 9


@triton.jit
def exponentials(out, STEPS: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Each number becomes ``2 ** -x``, ``STEPS`` times; it converges, so none overflows."""
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = place.to(tl.float32) / 1e6
    for _ in range(STEPS):
        x = tl.exp2(-x)
    tl.store(out + place, x)


def gb_per_s(device: torch.device) -> float:
    """10^9 bytes per second of a copy, read and written bytes counted."""
    source = torch.ones(_COPY, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY / _seconds(lambda: target.copy_(source)) / 1e9


def gexp_per_s(device: torch.device) -> float:
    """10^9 exponentials per second out of registers."""
    programs = torch.cuda.get_device_properties(device).multi_processor_count * _PROGRAMS_EACH
    out = torch.empty(programs * _BLOCK, device=device)
    seconds = _seconds(lambda: exponentials[(programs,)](out, _STEPS, _BLOCK))
    return programs * _BLOCK * _STEPS / seconds / 1e9


def _seconds(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(2 + _ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times[2:])  # the first compile and warm up
