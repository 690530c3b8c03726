"""The ops without operators of their own, for graphs that leave PyTorch.

Inside :func:`plain_ops` a call of an op is its equations in ordinary tensor operations, so that
``torch.export`` writes a graph that needs no ``mamba_kernels`` where it is loaded, and that ONNX
can say. The recurrences are one loop over time (PyTorch's ``scan``, ONNX's ``Scan``): a graph of
constant size, for any length. Slow, and without gradients.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

_active = False
_MODULES = {
    "selective_scan": "recurrence",
    "ssd": "recurrence",
    "causal_conv1d": "local",
    "rms_norm_gated": "local",
}


@contextmanager
def plain_ops() -> Iterator[None]:
    """Compute the ops by ordinary tensor operations within; for all threads of the process."""
    global _active
    before, _active = _active, True
    try:
        yield
    finally:
        _active = before


def plain_form(op: str) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """Return the plain form of an op inside :func:`plain_ops`, None outside.

    It takes the operator's inputs up to, and without, ``keep`` and ``backend``.

    :raises NotImplementedError: for an op that has none.
    """
    if not _active:
        return None
    if op not in _MODULES:
        raise NotImplementedError(f"{op} has no plain form: it decodes step by step")
    module: Any = importlib.import_module(f"mamba_kernels.plain.{_MODULES[op]}")
    return getattr(module, op)
