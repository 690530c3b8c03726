"""The core's own records: the mixers and scan orders that are always there.

A plugin like any other, except that it needs no entry point. Light: nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable

from mamba_core.builtin_orders import SCAN_ORDERS
from mamba_registry import hookimpl
from mamba_registry.specs import MixerSpec, ScanOrderSpec


@hookimpl
def mamba_mixers() -> Iterable[MixerSpec]:
    """Mamba-1, Mamba-2 and attention."""
    return (
        MixerSpec(
            name="mamba1",
            build="mamba_core.mixers.mamba1:Mamba1",
            summary="selective scan with a state per channel (Mamba)",
            causal=True,
            streams=True,
            packed=True,
        ),
        MixerSpec(
            name="mamba2",
            build="mamba_core.mixers.mamba2:Mamba2",
            summary="scan with one decay per head, computed by matmuls (SSD)",
            causal=True,
            streams=True,
            packed=True,
        ),
        MixerSpec(
            name="attention",
            build="mamba_core.mixers.attention:Attention",
            summary="softmax attention, quadratic in length",
            causal=True,
            streams=True,
            packed=True,
        ),
    )


@hookimpl
def mamba_scan_orders() -> Iterable[ScanOrderSpec]:
    """The orders of :mod:`mamba_core.scan_orders`."""
    return SCAN_ORDERS
