"""What this machine can do at best: bytes per second and exponentials per second, measured.

Fractions of these say how much is left for a kernel; the rates of another machine say nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_ROUNDS = 7
_TRIAD = 1 << 24
"""Numbers per array: 64 MiB, more than caches hold."""
_EXPONENTIALS = 1 << 12
"""16 KiB: stays in the first cache."""
_REPEATS = 500


@dataclass(frozen=True)
class Rates:
    """Of this machine, with the threads that torch has, or of its GPU."""

    gb_per_s: float
    """Of a triad ``a = b + s c`` over arrays of 64 MiB: two read, one written. On a GPU of a copy,
    see :mod:`mamba_core.bench.gpu_speed`."""
    gexp_per_s: float
    """10^9 exponentials per second by ``torch.exp`` in the first cache. Kernels that take ``exp2``
    by a polynomial of their own can be above it. On a GPU of ``exp2`` in registers."""


@dataclass(frozen=True)
class Work:
    """The least that an op must move and compute."""

    bytes: int
    exponentials: int


def rates(device: torch.device) -> Rates:
    """Measure both; takes about a second."""
    if device.type == "cuda":
        from mamba_core.bench import gpu_speed

        return Rates(gpu_speed.gb_per_s(device), gpu_speed.gexp_per_s(device))
    a, b, c = (torch.zeros(_TRIAD) for _ in range(3))
    triad = _seconds(lambda: torch.add(b, c, alpha=3.0, out=a))
    x = torch.linspace(-1, 0, _EXPONENTIALS)
    out = torch.empty_like(x)

    def exponentials() -> None:
        for _ in range(_REPEATS):
            torch.exp(x, out=out)

    return Rates(
        3 * 4 * _TRIAD / triad / 1e9, _EXPONENTIALS * _REPEATS / _seconds(exponentials) / 1e9
    )


def scan_work(B: int, D: int, L: int, N: int, *, width: int = 4) -> Work:
    """Of the forward selective scan: u, delta, z, out, B and C once; a decay per state, and two
    exponentials per token for softplus and gate.

    :param width: bytes of a token's number.
    """
    return Work(width * (4 * B * D * L + 2 * B * N * L), B * D * L * (N + 2))


def step_work(B: int, D: int, N: int, tokens: int, *, width: int = 4) -> Work:
    """Of single tokens: the state read and written, A, and each token's own numbers.

    A small state stays in the caches: then its bandwidth can be above that of memory.

    :param width: bytes of a token's number; the state and A are float32.
    """
    each = 4 * (2 * B * D * N + D * N) + width * (4 * B * D + 2 * B * N)
    return Work(tokens * each, tokens * B * D * (N + 2))


def ssd_work(B: int, L: int, H: int, P: int, N: int, *, width: int = 4) -> Work:
    """Of the forward SSD scan: x and out, dt, B and C once; a decay and a softplus per head.

    :param width: bytes of a token's number.
    """
    return Work(width * (2 * B * L * H * P + B * L * H + 2 * B * L * N), 2 * B * L * H)


def _seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
