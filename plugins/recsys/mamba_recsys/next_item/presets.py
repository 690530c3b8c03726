"""Sizes of ``rec-next``: fields that differ from the config's defaults."""

from __future__ import annotations

from typing import Any

_MAMBA = {"name": "mamba1", "d_state": 32}

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {"items": 60, "d_model": 32, "mixer": {"name": "mamba1", "d_state": 8}},
    # the published sizes, the state spaces as the core starts them
    "mamba4rec": {"mixer": _MAMBA, "network": {"kind": "mamba4rec"}},
    # the published initial weights too, which flatten the state spaces' time scales
    "mamba4rec_published": {
        "mixer": _MAMBA,
        "network": {"kind": "mamba4rec", "init": "published"},
    },
    # the same mixer with a norm before it and a residual around it, scored by cosines; its steps
    # start longer than the core's, which are made for sequences of thousands
    "mamba_prenorm": {
        "mixer": {**_MAMBA, "dt_min": 0.05, "dt_max": 1.0},
        "network": {"kind": "prenorm"},
        "temperature": 0.05,
    },
    # after SSD4Rec: Mamba-2 over packed histories behind registers
    "mamba2_packed": {
        "mixer": {"name": "mamba2", "d_state": 32, "headdim": 32, "chunk_size": 64},
        "network": {"kind": "stack", "depth": 2},
        "registers": 2,
    },
    # after TiM4Rec: the same, its steps stretched by the time between events
    "tim4rec": {
        "mixer": {"name": "mamba2", "d_state": 32, "headdim": 32, "chunk_size": 32},
        "network": {"kind": "tim4rec"},
    },
    # after SIGMA and EchoMamba4Rec, which also read backwards: they need data.prefixes
    "sigma": {"mixer": _MAMBA, "network": {"kind": "sigma"}},
    "echomamba": {"mixer": _MAMBA, "network": {"kind": "echomamba"}},
    # peers
    "sasrec": {"network": {"kind": "sasrec"}},
    "gru4rec": {"network": {"kind": "gru4rec"}},
    "hstu": {"network": {"kind": "hstu"}, "temperature": 0.05},
}
