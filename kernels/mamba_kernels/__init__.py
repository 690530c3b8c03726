"""Scans and their relatives as PyTorch operators: what a scan is, and who computes it here.

``ops`` holds the public functions, ``add_backend_source`` lets others bring implementations.
"""

from __future__ import annotations

from mamba_kernels import ops
from mamba_kernels.backends import Backend, Call, add_backend_source

__all__ = ["Backend", "Call", "add_backend_source", "ops"]
