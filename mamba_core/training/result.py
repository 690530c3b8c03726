"""What ``mamba_core.train`` returns."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training came to."""

    folder: Path
    """The results folder."""
    model: Path
    """Its ``best`` folder, for ``from_pretrained``."""
    score: float
    """Of the best model on the validation data: the task's first metric, or the loss."""
    metrics: dict[str, float]
    """All validation values of the best model."""
    best_step: int
    steps: int
    """Optimiser steps done, resumed parts counted."""
    skipped: int
    """Of these, dropped because the gradient was not finite."""
    seconds: float
