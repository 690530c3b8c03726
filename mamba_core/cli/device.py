"""The ``--device`` option."""

from __future__ import annotations

from mamba_core.cli.errors import CommandError


def check_device(name: str | None) -> str | None:
    """Return ``name`` if torch can use that device now.

    :param name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``; None lets the task choose.
    :raises CommandError: for a device that is not there, with those that are.
    """
    if name is None:
        return None
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise CommandError(f"--device {name}: no such device; here: {_here()}.") from None
    if device.type in ("cpu", "meta"):
        return name
    index = device.index or 0
    if device.type == _accelerator() and index < torch.accelerator.device_count():
        return name
    raise CommandError(
        f"--device {name}: torch {torch.__version__} finds no such device; here: {_here()}. "
        "See `mamba-core doctor`."
    )


def _accelerator() -> str | None:
    import torch

    if not torch.accelerator.is_available():
        return None
    current = torch.accelerator.current_accelerator()
    return current.type if current else None


def _here() -> str:
    import torch

    kind = _accelerator()
    found = [f"{kind}:{i}" for i in range(torch.accelerator.device_count())] if kind else []
    return ", ".join(["cpu", *found])
