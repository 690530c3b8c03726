"""Mamba models, scans and scan orders, and the registry of installed domain plugins."""

from mamba_core._version import __version__

__all__ = ["__version__"]
