"""Recommendation tasks for mamba-core.

``Recommender`` and ``SessionRecommender`` are the interface on data frames; the tasks are built
through the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mamba_recsys.interactions import InteractionError
    from mamba_recsys.recommender import Recommender
    from mamba_recsys.session.recommender import SessionRecommender

__version__ = "0.1.0"

__all__ = ["InteractionError", "Recommender", "SessionRecommender", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use: the registry imports this package to list it."""
    if name == "Recommender":
        from mamba_recsys.recommender import Recommender

        return Recommender
    if name == "SessionRecommender":
        from mamba_recsys.session.recommender import SessionRecommender

        return SessionRecommender
    if name == "InteractionError":
        from mamba_recsys.interactions import InteractionError

        return InteractionError
    raise AttributeError(f"module 'mamba_recsys' has no attribute '{name}'")
