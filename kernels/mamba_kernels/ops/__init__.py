"""Public ops."""

from mamba_kernels.ops.selective_scan import selective_scan
from mamba_kernels.ops.ssd import ssd

__all__ = ["selective_scan", "ssd"]
