"""Sizes of ``audio-sep``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # for tests: a second of audio in milliseconds
    "tiny": {
        "filters": 32,
        "kernel_size": 32,
        "stride": 16,
        "d_model": 32,
        "depth": 2,
        "mixer": {"name": "mamba2", "d_state": 16, "headdim": 16},
    },
    # trained here on two CPU cores: half as many frames as in the large ones, and the
    # mixer whose chunked form is matrix products
    "libri8k_small": {
        "filters": 256,
        "kernel_size": 32,
        "stride": 16,
        "d_model": 128,
        "depth": 7,
        "mixer": {"name": "mamba2", "d_state": 32, "headdim": 32},
    },
    # Mamba-TasNet (Jiang et al., 2407.09732), by its published hyper-parameters
    "mamba_tasnet_xs": {"filters": 128, "d_model": 128, "depth": 16},
    "mamba_tasnet_s": {"filters": 256, "d_model": 256, "depth": 16},
    "mamba_tasnet_m": {"filters": 256, "d_model": 256, "depth": 32},
    "mamba_tasnet_l": {"filters": 512, "d_model": 512, "depth": 32},
}
