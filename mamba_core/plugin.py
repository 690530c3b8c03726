"""The core's own records: the mixers and scan orders that are always there.

A plugin like any other, except that it needs no entry point. Light: nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable

from mamba_core.builtin_orders import SCAN_ORDERS
from mamba_registry import hookimpl
from mamba_registry.specs import MixerSpec, ScanOrderSpec

_GRID_MIXERS = (
    ("vssd", "vssd:NonCausalSSD", "one weighted sum over all tokens of a grid (VSSD)"),
    ("spatial-mamba", "spatial_mamba:SpatialMamba", "scan, then states of neighbours fused"),
    ("mamba2d", "mamba2d:Mamba2D", "recurrence from the left and from above"),
    ("plain-mamba", "plain_mamba:PlainMamba", "four serpentines with steps that are told"),
    ("group-scan", "group_scan:GroupScan", "a path per group of channels (GroupMamba, DBM)"),
    ("multi-scale", "multi_scale:MultiScale", "one full path, three coarse ones (MSVMamba)"),
)
"""Name, class, summary. They need the shape of the grid and see all of it."""


@hookimpl
def mamba_mixers() -> Iterable[MixerSpec]:
    """Mamba-1, Mamba-2, attention, and those that read a grid without an order."""
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
        *(
            MixerSpec(name=name, build=f"mamba_core.mixers.{where}", summary=summary, causal=False)
            for name, where, summary in _GRID_MIXERS
        ),
    )


@hookimpl
def mamba_scan_orders() -> Iterable[ScanOrderSpec]:
    """The orders of :mod:`mamba_core.scan_orders`."""
    return SCAN_ORDERS
