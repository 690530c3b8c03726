"""Sizes of ``points-cls``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

_FITTED = "points-hilbert(xyz, 10)+points-hilbert(yxz, 10)"
"""Cells fitted to each cloud, whatever its unit."""

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "points": 64,
        "num_classes": 5,
        "head_widths": (),
        "architecture": {
            "kind": "pointmamba",
            "groups": 8,
            "neighbours": 8,
            "token_width": 16,
            "d_model": 32,
            "depth": 2,
            "mixer": {"name": "mamba2", "d_state": 8, "headdim": 16, "chunk_size": 16},
        },
    },
    # ModelNet40
    "pointmamba_small": {"num_classes": 40, "drop_rate": 0.5},
    # a few hundred clouds, on a processor
    "pointmamba_300k": {
        "points": 512,
        "num_classes": 5,
        "drop_rate": 0.3,
        "head_widths": (64,),
        "architecture": {
            "kind": "pointmamba",
            "groups": 32,
            "neighbours": 16,
            "token_width": 32,
            "d_model": 96,
            "depth": 4,
            "scan_order": _FITTED,
        },
    },
    # a peer, for comparisons in the same harness
    "pointnet_300k": {
        "points": 512,
        "num_classes": 5,
        "drop_rate": 0.3,
        "architecture": {"kind": "pointnet", "widths": (64, 64, 128, 512)},
    },
}
