"""Audio tasks for mamba-core."""

__version__ = "0.1.0"
