"""What the programs behind this plugin's tables share: a training that is kept, and spreads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mamba_core


def kept(
    folder: Path,
    task: str,
    preset: str,
    *,
    data: Mapping[str, Any],
    train: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
    batch_size: int = 50,
) -> dict[str, float]:
    """Train a model into ``folder`` where that was not done before; return its test metrics.

    What was cut off goes on where it stopped. The best state by validation is measured.

    :param train: settings of the training, as ``--train.*`` has them.
    :param batch_size: of the test part.
    :returns: as ``folder/test.json``, where they are kept.
    """
    result = folder / "test.json"
    if not result.exists():
        resume = (folder / "last.ckpt").exists()
        mamba_core.train(
            task,
            preset=preset,
            out=folder,
            model=model or {},
            data=data,
            train=train,
            resume=resume,
        )
        measured = mamba_core.evaluate(folder / "best", data=data, batch_size=batch_size)
        result.write_text(json.dumps(measured.metrics), encoding="utf-8")
    found: dict[str, float] = json.loads(result.read_text(encoding="utf-8"))
    return found


def small_steps(epochs: int, ema: float, seed: int) -> dict[str, Any]:
    """Return the training settings that the small sets of clips and clouds share."""
    return {
        "max_epochs": epochs,
        "batch_size": 32,
        "lr": 2e-3,
        "warmup_steps": 20,
        "ema": ema,
        "seed": seed,
        "checkpoint_every": 10_000,
    }


def spread_text(values: Sequence[float]) -> str:
    """Return mean, standard deviation where there are several, and every value."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation} ({', '.join(f'{value:.3f}' for value in values)})"
