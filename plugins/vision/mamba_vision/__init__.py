"""Vision tasks for mamba-core.

``convert_checkpoint`` brings published weights of Vim and VMamba, ``get_weight`` returns named
weights in torchvision's manner, ``register_timm`` lets ``timm.create_model`` build these models.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamba_vision.classification.convert import convert_checkpoint
    from mamba_vision.classification.named_weights import get_weight
    from mamba_vision.timm_models import register_timm

__version__ = "0.1.0"

__all__ = ["__version__", "convert_checkpoint", "get_weight", "register_timm"]

_HOMES = {
    "convert_checkpoint": "mamba_vision.classification.convert",
    "get_weight": "mamba_vision.classification.named_weights",
    "register_timm": "mamba_vision.timm_models",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: the registry imports this package to list it."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mamba_vision' has no attribute '{name}'")
