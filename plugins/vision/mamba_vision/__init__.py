"""Vision tasks for mamba-core.

``convert_checkpoint`` brings published weights of Vim and VMamba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamba_vision.classification.convert import convert_checkpoint

__version__ = "0.1.0"

__all__ = ["__version__", "convert_checkpoint"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: the registry imports this package to list it."""
    if name == "convert_checkpoint":
        from mamba_vision.classification.convert import convert_checkpoint

        return convert_checkpoint
    raise AttributeError(f"module 'mamba_vision' has no attribute '{name}'")
