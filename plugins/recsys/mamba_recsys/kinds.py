"""Which recommender belongs to a task."""

from __future__ import annotations

from mamba_core.registry import ConfigError
from mamba_recsys.recommender import Recommender
from mamba_recsys.session.recommender import SessionRecommender

KINDS: dict[str, type[Recommender]] = {
    kind.task: kind for kind in (Recommender, SessionRecommender)
}


def recommender_of(task: str) -> type[Recommender]:
    """Return what fits, saves and loads for a task.

    :raises ConfigError: for another task.
    """
    if task not in KINDS:
        raise ConfigError(f"task {task!r} is not fitted or served here; {', '.join(KINDS)} are")
    return KINDS[task]
