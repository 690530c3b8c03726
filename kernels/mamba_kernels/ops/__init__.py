"""Public ops."""

from mamba_kernels.ops.selective_scan import selective_scan

__all__ = ["selective_scan"]
