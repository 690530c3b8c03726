"""The public ops, in the names and layouts of ``mamba_ssm``, and who computes them here."""

from __future__ import annotations

from mamba_kernels.backends import overview as backends
from mamba_kernels.ops.causal_conv1d import causal_conv1d
from mamba_kernels.ops.causal_conv1d_update import causal_conv1d_update
from mamba_kernels.ops.rms_norm_gated import rms_norm_gated
from mamba_kernels.ops.selective_scan import selective_scan
from mamba_kernels.ops.selective_state_update import selective_state_update
from mamba_kernels.ops.ssd import ssd

__all__ = [
    "backends",
    "causal_conv1d",
    "causal_conv1d_update",
    "rms_norm_gated",
    "selective_scan",
    "selective_state_update",
    "ssd",
]
