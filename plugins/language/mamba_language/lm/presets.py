"""Sizes of ``language-lm``: fields that differ from the config's defaults.

The published ones (state-spaces on the Hugging Face hub) use the GPT-NeoX tokenizer, whose 50277
entries are padded to a multiple of 8 (Mamba) and of 16 (Mamba-2).
"""

from __future__ import annotations

from typing import Any

_NEOX = {"tokenizer": "EleutherAI/gpt-neox-20b", "eos": 0}
_LARGE = ((768, 24), (1024, 48), (1536, 48), (2048, 48), (2560, 64))
_MAMBA = ("130m", "370m", "790m", "1_4b", "2_8b")
_MAMBA2 = ("130m", "370m", "780m", "1_3b", "2_7b")

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "d_model": 64,
        "n_layer": 2,
        "mixer": {"name": "mamba2", "d_state": 16, "headdim": 16, "chunk_size": 64},
    },
    # bytes, for one's own text on a CPU
    "bytes_small": {
        "d_model": 256,
        "n_layer": 6,
        "mixer": {"name": "mamba2", "d_state": 64, "headdim": 64, "chunk_size": 64},
    },
}
PRESETS |= {
    f"mamba_{name}": {**_NEOX, "vocab_size": 50280, "d_model": d, "n_layer": n, "mixer": "mamba1"}
    for name, (d, n) in zip(_MAMBA, _LARGE, strict=True)
}
PRESETS |= {
    f"mamba2_{name}": {**_NEOX, "vocab_size": 50288, "d_model": d, "n_layer": n, "mixer": "mamba2"}
    for name, (d, n) in zip(_MAMBA2, _LARGE, strict=True)
}
