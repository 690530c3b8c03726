"""Sizes of ``audio-sep``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any


def _single(filters: int, depth: int) -> dict[str, Any]:
    """Mamba-TasNet (Jiang et al., 2407.09732), by its published hyper-parameters."""
    network = {"kind": "single_path", "filters": filters, "d_model": filters, "depth": depth}
    return {"network": network}


def _dual(filters: int, depth: int) -> dict[str, Any]:
    """DPMamba (Jiang et al., 2403.18257), by its published hyper-parameters."""
    network = {"kind": "dual_path", "filters": filters, "d_model": filters, "depth": depth}
    return {"network": network}


def _at_16khz(preset: dict[str, Any]) -> dict[str, Any]:
    """The same at twice the sample rate: frames of as many milliseconds."""
    kernel_size, stride = preset.get("kernel_size", 16), preset.get("stride", 8)
    return {
        **preset,
        "sample_rate": 16_000,
        "kernel_size": 2 * kernel_size,
        "stride": 2 * stride,
    }


def _conv(n: int, b: int, h: int, x: int, r: int) -> dict[str, Any]:
    """Conv-TasNet (Luo and Mesgarani, 1809.07454), by the letters of its paper; L 16, P 3."""
    sizes = {"filters": n, "bottleneck": b, "hidden": h, "blocks": x, "repeats": r}
    return {"network": {"kind": "conv_tasnet", **sizes}}


def _spectral(heads: int) -> dict[str, Any]:
    """SPMamba (Li et al., 2404.02063), by its published hyper-parameters for 8 kHz."""
    return {
        "kernel_size": 256,
        "stride": 64,
        "network": {"kind": "time_frequency", "heads": heads},
        "mixer": {"name": "mamba1", "expand": 4},
    }


_FEW_FRAMES: dict[str, Any] = {
    "kernel_size": 32,
    "stride": 16,
    "mixer": {"name": "mamba2", "d_state": 32, "headdim": 32},
}
"""What suits a CPU: half as many frames as in the published models, and the mixer whose chunked
form is matrix products."""

_SINGLE_1M: dict[str, Any] = {
    **_FEW_FRAMES,
    "network": {"kind": "single_path", "filters": 256, "d_model": 128, "depth": 9},
}

PRESETS: dict[str, dict[str, Any]] = {
    # for tests: a second of audio in milliseconds
    "tiny": {
        "kernel_size": 32,
        "stride": 16,
        "network": {"kind": "single_path", "filters": 32, "d_model": 32, "depth": 2},
        "mixer": {"name": "mamba2", "d_state": 16, "headdim": 16},
    },
    # trained here on two CPU cores
    "libri8k_small": {
        **_FEW_FRAMES,
        "network": {"kind": "single_path", "filters": 256, "d_model": 128, "depth": 7},
    },
    # of the size of conv_tasnet_1m, to be compared with it
    "single_1m": _SINGLE_1M,
    "single_1m_16k": _at_16khz(_SINGLE_1M),
    "causal_1m": {**_SINGLE_1M, "causal": True},
    "dual_1m": {
        **_FEW_FRAMES,
        "network": {
            "kind": "dual_path",
            "filters": 256,
            "d_model": 128,
            "depth": 4,
            "chunk": 100,
        },
    },
    "mamba_tasnet_xs": _single(128, 16),
    "mamba_tasnet_s": _single(256, 16),
    "mamba_tasnet_m": _single(256, 32),
    "mamba_tasnet_l": _single(512, 32),
    "dpmamba_xs": _dual(128, 8),
    "dpmamba_s": _dual(256, 8),
    "dpmamba_m": _dual(256, 16),
    "dpmamba_l": _dual(512, 16),
    "spmamba": _spectral(heads=4),
    "spmamba_linear": _spectral(heads=0),
    "spmamba_16k": _at_16khz(_spectral(heads=4)),
    # peers, to be compared with in the same harness
    "conv_tasnet_tiny": _conv(128, 64, 128, 6, 2),
    "conv_tasnet_1m": _conv(256, 96, 256, 7, 2),
    "conv_tasnet_1m_16k": _at_16khz(_conv(256, 96, 256, 7, 2)),
    "conv_tasnet_5m": _conv(512, 128, 512, 8, 3),
    "dprnn": {"kernel_size": 2, "stride": 1, "network": {"kind": "dprnn"}},
}
