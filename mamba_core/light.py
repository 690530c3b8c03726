"""What a plugin's module, and ``import mamba_core``, may not import."""

from __future__ import annotations

HEAVY_MODULES = (
    "torch",
    "torchvision",
    "torchaudio",
    "torch_geometric",
    "triton",
    "numpy",
    "lightning",
)
"""Each takes a tenth of a second to seconds; listing plugins would pay for all of them."""
