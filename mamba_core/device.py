"""From a device's name to the device, or to what there is instead."""

from __future__ import annotations

import torch

from mamba_registry.errors import ConfigError


def choose_device(name: str | None) -> torch.device:
    """Return the device of a name.

    :param name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``; None or ``auto`` is a GPU where
        there is one, else the CPU.
    :raises ConfigError: for a device that is not here, with those that are.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}': no such device; here: {_here()}.") from None
    if device.type in ("cpu", "meta"):
        return device
    if device.type == _accelerator() and (device.index or 0) < torch.accelerator.device_count():
        return device
    raise ConfigError(
        f"device '{name}': torch {torch.__version__} finds no such device; here: {_here()}. "
        "See `mamba-core doctor`."
    )


def _accelerator() -> str | None:
    if not torch.accelerator.is_available():
        return None
    current = torch.accelerator.current_accelerator()
    return current.type if current else None


def _here() -> str:
    kind = _accelerator()
    found = [f"{kind}:{i}" for i in range(torch.accelerator.device_count())] if kind else []
    return ", ".join(["cpu", *found])
