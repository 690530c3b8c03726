"""Sizes of ``video-cls``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

_COLUMN = {"kind": "videomamba"}
_MAMBA2 = {"mixer": {"name": "mamba2", "d_state": 8, "headdim": 16, "chunk_size": 16}}

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "image_size": (16, 16),
        "frames": 4,
        "num_classes": 10,
        "architecture": {
            **_COLUMN,
            "patch_size": 8,
            "d_model": 32,
            "depth": 2,
            "class_token": "middle",
            "mixing": _MAMBA2,
        },
    },
    # Kinetics-400
    "videomamba_tiny": {"num_classes": 400},
    "videomamba_small": {"num_classes": 400, "architecture": {**_COLUMN, "d_model": 384}},
    # layers take turns at the axes; the size is ours
    "mamband_tiny": {
        "num_classes": 400,
        "architecture": {**_COLUMN, "tubelet": 2, "class_token": "none", "alternation": {}},
    },
    # small clips, from scratch
    "clips_250k": {
        "image_size": (32, 32),
        "in_chans": 1,
        "mean": (0.5,),
        "std": (0.5,),
        "num_classes": 10,
        "architecture": {
            **_COLUMN,
            "patch_size": 8,
            "d_model": 64,
            "depth": 6,
            "class_token": "none",
            "alternation": {},
            "mixing": {"mixer": {"name": "mamba1", "d_state": 8}},
        },
    },
}
