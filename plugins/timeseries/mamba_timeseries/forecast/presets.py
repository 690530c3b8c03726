"""Networks of ``ts-forecast`` by name: fields that differ from the config's defaults.

Published sizes where a paper has one for ETTh1 at look-back 96; look-back and horizon are fields
like any other.
"""

from __future__ import annotations

from typing import Any

_SCAN = {"name": "mamba1", "d_state": 16, "d_conv": 4, "expand": 1}

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "input_size": 24,
        "h": 8,
        "quantiles": (0.1, 0.5, 0.9),
        "norm": "running",
        "mixer": {"name": "mamba2", "d_state": 16, "headdim": 16},
        "network": {"kind": "patch_decoder", "patch": 4, "d_model": 32, "depth": 1},
    },
    # ETTh1's published sizes: 1,145,696 parameters at 96 -> 96
    "s_mamba": {"network": {"kind": "s_mamba"}},
    # what the day's cycle and a linear map leave, read by S-Mamba: the best here on ETTh1
    "s_mamba_residual": {"cycle": 24, "linear": True, "network": {"kind": "s_mamba"}},
    # causal, updated by every observation in constant time
    "patch_decoder": {
        "norm": "running",
        "mixer": {"name": "mamba2", "d_state": 32, "headdim": 32},
        "network": {"kind": "patch_decoder", "patch": 8, "d_model": 64, "depth": 2},
    },
    # the peer: PatchTST's size for ETTh1
    "patch_transformer": {
        "mixer": {"name": "attention", "num_heads": 4, "causal": False},
        "network": {"kind": "patch_encoder", "d_model": 16, "d_ff": 128, "depth": 3},
    },
    "bi_mamba_plus": {
        "mixer": {"name": "mamba-plus", "d_state": 16, "d_conv": 2, "expand": 1},
        "network": {
            "kind": "patch_encoder",
            "d_model": 64,
            "d_ff": 128,
            "depth": 2,
            "scan_order": "bidirectional",
            "tokens": "correlation",
        },
    },
    "cmamba": {
        "mixer": _SCAN,
        "network": {"kind": "cmamba", "d_model": 128, "depth": 2},
    },
    "mamba_ts": {
        "mixer": _SCAN,
        "network": {"kind": "mamba_ts", "patch": 16, "d_model": 128, "depth": 3},
    },
    "time_machine": {
        "mixer": {"name": "mamba1", "d_state": 256, "d_conv": 2, "expand": 1},
        "network": {"kind": "time_machine"},
    },
    "dlinear": {"norm": "none", "network": {"kind": "dlinear"}},
}
