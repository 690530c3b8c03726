"""On what, with what and when something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Facts = dict[str, str | int | float | None]
_VERSIONS = ("mamba-core", "torch", "transformers", "numpy")


def describe(threads: int, device: torch.device | None = None) -> Facts:
    """Return the facts that belong beside every figure.

    :param threads: how many threads torch is given.
    :param device: where things run; None is the CPU.
    :returns: ``cpu``, ``instructions`` (torch's own choice), ``processors`` (those this process
        may use), ``load`` (of the machine before the start, over one minute), ``threads``,
        ``system``, ``python``, one version per library (None where it is not installed), and
        ``date`` in UTC; on a GPU also ``gpu``, its ``multiprocessors``, ``cuda`` of torch and
        ``triton``.
    """
    import torch

    return {
        "cpu": cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processors": _processors(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in _VERSIONS},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **(_gpu(device) if device is not None and device.type == "cuda" else {}),
    }


def _gpu(device: torch.device) -> Facts:
    import torch

    found = torch.cuda.get_device_properties(device)
    return {
        "gpu": found.name,
        "multiprocessors": found.multi_processor_count,
        "cuda": torch.version.cuda,
        "triton": _version("triton"),
    }


def cpu_model() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _processors() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
