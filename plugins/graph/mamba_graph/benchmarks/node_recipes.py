"""How each network of the node tables is built and trained, set by set.

Chosen by validation scores only, with as many tries for each network; the card says how many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What differs between networks and sets; the rest is in ``fit``."""

    epochs: int = 200
    lr: float = 5e-3
    weight_decay: float = 1e-2
    """Of matrices; decoupled, so that a step takes ``lr`` times as much of them."""
    d_model: int = 64
    feature_dropout: float = 0.0
    """On the features."""
    dropout: float = 0.5
    """On the encoded features and before the head."""
    network: dict[str, Any] = field(default_factory=dict)
    """Fields in place of the preset's."""
    val_every: int = 1
    """Epochs between validations."""


RECIPES: dict[tuple[str, str], Recipe] = {}
"""By set and preset."""


def recipe_of(name: str, preset: str) -> Recipe:
    """Return the recipe of a set and a preset; for those without one, the defaults."""
    return RECIPES.get((name, preset), Recipe())
