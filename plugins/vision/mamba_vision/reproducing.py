"""What the programs behind this plugin's tables share: a training that is kept, and spreads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mamba_core


def kept_top1(
    folder: Path,
    task: str,
    preset: str,
    *,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    epochs: int,
    ema: float,
    seed: int,
) -> float:
    """Train a model into ``folder`` where that was not done before; return its test accuracy.

    Steps of 32 at a learning rate of 2e-3; the best epoch by validation is measured.

    :returns: top-1 from 0 to 1, also written to ``folder/test.json``.
    """
    result = folder / "test.json"
    if not result.exists():
        train = {
            "max_epochs": epochs,
            "batch_size": 32,
            "lr": 2e-3,
            "warmup_steps": 20,
            "ema": ema,
            "seed": seed,
            "checkpoint_every": 10_000,
        }
        mamba_core.train(task, preset=preset, out=folder, model=model, data=data, train=train)
        measured = mamba_core.evaluate(folder / "best", data=data, batch_size=50)
        result.write_text(json.dumps(measured.metrics), encoding="utf-8")
    return float(json.loads(result.read_text(encoding="utf-8"))["top1"])


def spread_text(values: Sequence[float]) -> str:
    """Return mean, standard deviation where there are several, and every value."""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation} ({', '.join(f'{value:.3f}' for value in values)})"
