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
    lr: float = 1e-2
    weight_decay: float = 1e-3
    """Of matrices; decoupled, so that a step takes ``lr`` times as much of them."""
    d_model: int = 32
    feature_dropout: float = 0.0
    """On the features."""
    dropout: float = 0.0
    """On the encoded features and before the head."""
    network: dict[str, Any] = field(default_factory=dict)
    """Fields in place of the preset's."""
    val_every: int = 5
    """Epochs between validations."""


_FEW_ANSWERS: dict[str, Any] = {"weight_decay": 1.0, "feature_dropout": 0.5, "val_every": 2}
_PLAIN = {"depth": 2, "residual": False, "norm": None, "dropout": 0.5}
_CITATIONS: dict[str, Recipe] = {
    "graph_mamba_node": Recipe(epochs=60, dropout=0.5, **_FEW_ANSWERS),
    "gcn_tuned": Recipe(epochs=60, network=_PLAIN, **_FEW_ANSWERS),
    "polynormer": Recipe(
        epochs=100,
        d_model=64,
        network={"local_layers": 5, "global_layers": 1, "dropout": 0.5},
        **_FEW_ANSWERS,
    ),
}
"""Of Cora and CiteSeer alike: a hundred labelled nodes."""
RECIPES: dict[tuple[str, str], Recipe] = {
    **{
        (name, preset): _CITATIONS[preset] for name in ("Cora", "CiteSeer") for preset in _CITATIONS
    },
    ("Minesweeper", "graph_mamba_small"): Recipe(
        epochs=100,
        network={"conv": "sage", "depth": 8, "order": "bfs", "dropout": 0.2},
    ),
    ("Minesweeper", "gcn_tuned"): Recipe(d_model=64, network={"depth": 8, "dropout": 0.2}),
    ("Minesweeper", "polynormer"): Recipe(network={"dropout": 0.2}),
    # not searched for: as small as 519,000 edges ask for
    ("Tolokers", "graph_mamba_small"): Recipe(
        epochs=120, network={"conv": "gcn", "depth": 2, "dropout": 0.1}
    ),
    ("Tolokers", "gcn_tuned"): Recipe(epochs=120, network={"depth": 2, "dropout": 0.1}),
    ("Tolokers", "polynormer"): Recipe(epochs=120, network={"local_layers": 2, "dropout": 0.1}),
}
"""By set and preset."""


def recipe_of(name: str, preset: str) -> Recipe:
    """Return the recipe of a set and a preset; for those without one, the defaults."""
    return RECIPES.get((name, preset), Recipe())
