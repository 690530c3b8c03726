"""Sizes of ``audio-enhance``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "sample_rate": 8000,
        "n_fft": 128,
        "hop": 64,
        "channels": 32,
        "dilations": 1,
        "depth": 1,
        "mixer": {"name": "mamba2", "d_state": 8, "headdim": 16},
    },
    # small enough to be trained on two CPU cores
    "libri8k_small": {
        "sample_rate": 8000,
        "n_fft": 256,
        "hop": 128,
        "channels": 24,
        "dilations": 3,
        "depth": 2,
        "phase": "turned",
        "mixer": {"name": "mamba2", "d_state": 16, "headdim": 24},
    },
    # SEMamba (Chao et al., 2405.06573), by its published hyper-parameters
    "semamba": {},
}
