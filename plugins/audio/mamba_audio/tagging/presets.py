"""Sizes of ``audio-tag``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "sample_rate": 8000,
        "seconds": 0.5,
        "mels": 32,
        "window_ms": 32.0,
        "patch": (8, 8),
        "d_model": 32,
        "depth": 2,
        "mixer": {"name": "mamba2", "d_state": 8, "headdim": 16},
    },
    # small enough to be trained on two CPU cores
    "libri8k_small": {
        "sample_rate": 8000,
        "seconds": 2.0,
        "mels": 64,
        "d_model": 96,
        "depth": 6,
        "mixer": {"name": "mamba2", "d_state": 16, "headdim": 32},
    },
    # Audio-Mamba (Erol et al., 2406.03344), by its published hyper-parameters. There the two
    # directions share everything but A; sharing A too comes nearest to its sizes.
    "aum_tiny": {"d_model": 192, "share": "all"},
    "aum_small": {"d_model": 384, "share": "all"},
    "aum_base": {"d_model": 768, "share": "all"},
}
