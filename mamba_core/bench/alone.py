"""Run one measurement in a process of its own, so that its time and its peak are its own."""

from __future__ import annotations

import math
import multiprocessing
import resource
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

Row = dict[str, Any]


def alone(measure: Callable[[], Row], *, seconds: int, gib: float) -> Row:
    """Return what a function returns, or ``{"failed": why}``.

    :param measure: picklable; a partial of a module's function.
    :param seconds: of the processor, after which it is stopped; the others that share the
        processor do not count.
    :param gib: of data, above which memory is refused (Linux).
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=partial(_send, measure, seconds, gib, there))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        process.join()
        late = process.exitcode == -signal.SIGXCPU
        return {"failed": f"over {seconds} s" if late else "the process died"}
    finally:
        process.kill()
        process.join()


def _send(measure: Callable[[], Row], seconds: int, gib: float, out: Connection) -> None:
    size = int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    end = math.ceil(time.process_time()) + seconds  # imports do not count
    resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        out.send(measure())
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        out.send({"failed": f"over {gib:g} GiB"})


def peak_mib() -> int:
    """Return the most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
