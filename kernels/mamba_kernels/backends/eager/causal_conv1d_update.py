"""The next outputs of a causal convolution; windows are short, so the equations are fast."""

from mamba_kernels.backends.reference.causal_conv1d_update import update

__all__ = ["update"]
