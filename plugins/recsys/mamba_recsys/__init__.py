"""Recommendation tasks for mamba-core.

``Recommender`` is the interface on data frames; the tasks are built through the registry.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
