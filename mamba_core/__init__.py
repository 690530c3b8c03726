"""Mamba (selective state space) models, scans and scan orders, and the plugins that use them.

Everything that needs torch is imported on first use, so that ``import mamba_core`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mamba_core._version import __version__

if TYPE_CHECKING:
    from mamba_core import blocks, mixers, registry, scan_orders
    from mamba_core.exporting import export
    from mamba_core.pretrained import from_pretrained, save_pretrained
    from mamba_core.training import evaluate, predict, train
    from mamba_kernels import ops

_LAZY = {
    "blocks": "mamba_core.blocks",
    "evaluate": "mamba_core.training:evaluate",
    "export": "mamba_core.exporting:export",
    "from_pretrained": "mamba_core.pretrained:from_pretrained",
    "mixers": "mamba_core.mixers",
    "ops": "mamba_core.kernel_backends:ops",
    "predict": "mamba_core.training:predict",
    "registry": "mamba_core.registry",
    "save_pretrained": "mamba_core.pretrained:save_pretrained",
    "scan_orders": "mamba_core.scan_orders",
    "train": "mamba_core.training:train",
}

__all__ = [
    "__version__",
    "blocks",
    "evaluate",
    "export",
    "from_pretrained",
    "mixers",
    "ops",
    "predict",
    "registry",
    "save_pretrained",
    "scan_orders",
    "train",
]


def __getattr__(name: str) -> Any:
    where = _LAZY.get(name)
    if where is None:
        raise AttributeError(f"module 'mamba_core' has no attribute '{name}'")
    module, _, attribute = where.partition(":")
    found: Any = importlib.import_module(module)
    if attribute:
        found = getattr(found, attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
