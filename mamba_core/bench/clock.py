"""How one call is timed: by the host's clocks, or by those of a GPU."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

_CACHE = 256 << 20
"""Bytes that are written before every call on a GPU: more than its second cache holds."""


@dataclass(frozen=True)
class Time:
    """Seconds of one call."""

    wall: float
    """On a GPU, of the device; else of the clock on the wall."""
    cpu: float
    """Of the processor, all threads and ended children; on a GPU, until all is launched."""


class Clock(Protocol):
    """Times one call after the other."""

    def time(self, call: Callable[[], Any]) -> Time:
        """Call once and return what that took."""
        ...

    def settle(self) -> None:
        """Return when everything that was launched has finished."""
        ...


class HostClock:
    """For what has finished when the call returns."""

    def time(self, call: Callable[[], Any]) -> Time:
        """Call once, see :class:`Clock`."""
        cpu, wall = _cpu_seconds(), time.perf_counter()
        result = call()
        spent = Time(time.perf_counter() - wall, _cpu_seconds() - cpu)
        del result  # kept until here: freeing it is not part of the call
        return spent

    def settle(self) -> None:
        """Nothing is ever under way."""


class CudaClock:
    """Between two events of the current stream; the second cache is emptied first.

    Emptying it keeps the device busy while the host launches, so that a call is not charged for
    launching unless it launches more than the device can do meanwhile.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._cache = torch.empty(_CACHE, dtype=torch.int8, device=device)

    def time(self, call: Callable[[], Any]) -> Time:
        """Call once, see :class:`Clock`."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._cache.zero_()
        begin.record()
        cpu = _cpu_seconds()
        result = call()
        cpu = _cpu_seconds() - cpu
        end.record()
        end.synchronize()
        del result
        return Time(begin.elapsed_time(end) / 1e3, cpu)

    def settle(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self.device)


def clock_of(device: torch.device) -> Clock:
    """Return the clock for what runs there."""
    return CudaClock(device) if device.type == "cuda" else HostClock()


def _cpu_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system
