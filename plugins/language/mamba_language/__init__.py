"""Language tasks for mamba-core.

``convert_checkpoint``, ``convert_config`` and ``load_checkpoint`` bring published weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamba_language.lm.checkpoint import load_checkpoint
    from mamba_language.lm.convert import convert_checkpoint, convert_config

__version__ = "0.1.0"

__all__ = ["__version__", "convert_checkpoint", "convert_config", "load_checkpoint"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: the registry imports this package to list it."""
    if name in ("convert_checkpoint", "convert_config"):
        from mamba_language.lm import convert

        return getattr(convert, name)
    if name == "load_checkpoint":
        from mamba_language.lm.checkpoint import load_checkpoint

        return load_checkpoint
    raise AttributeError(f"module 'mamba_language' has no attribute '{name}'")
