"""Counters and times of the service, as Prometheus reads them."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Of the histograms, seconds."""


class Numbers:
    """What has happened since the start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._times: dict[str, list[int]] = defaultdict(lambda: [0] * (len(EDGES) + 1))
        self._sums: Counter[str] = Counter()

    def add(self, name: str, count: int) -> None:
        """Count something."""
        with self._lock:
            self._counts[name] += count

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Take the time of the block, of failures too."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            with self._lock:
                self._times[name][bisect_left(EDGES, seconds)] += 1
                self._sums[name] += seconds  # type: ignore[assignment]

    def text(self) -> str:
        """Return all of it in Prometheus' text format."""
        with self._lock:
            lines = []
            for name, count in sorted(self._counts.items()):
                lines += [
                    f"# TYPE mamba_recsys_{name}_total counter",
                    f"mamba_recsys_{name}_total {count}",
                ]
            for name, held in sorted(self._times.items()):
                full = f"mamba_recsys_{name}_seconds"
                lines.append(f"# TYPE {full} histogram")
                so_far = 0
                for edge, count in zip((*EDGES, "+Inf"), held, strict=True):
                    so_far += count
                    lines.append(f'{full}_bucket{{le="{edge}"}} {so_far}')
                lines += [f"{full}_sum {self._sums[name]:.6f}", f"{full}_count {so_far}"]
        return "\n".join(lines) + "\n"
