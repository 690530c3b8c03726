"""Train, evaluate and use models: thin over Lightning, which no other room knows.

``TrainConfig`` and the data protocols come without torch and Lightning; the functions bring them
when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mamba_core.training.config import TrainConfig

if TYPE_CHECKING:
    from mamba_core.training.data import Split, TaskData
    from mamba_core.training.errors import TrainingError
    from mamba_core.training.evaluation import EvalResult, evaluate
    from mamba_core.training.mean_metric import ValueMean
    from mamba_core.training.prediction import predict
    from mamba_core.training.result import TrainResult
    from mamba_core.training.run import train

_LAZY = {
    "EvalResult": "evaluation",
    "Split": "data",
    "TaskData": "data",
    "TrainResult": "result",
    "TrainingError": "errors",
    "ValueMean": "mean_metric",
    "evaluate": "evaluation",
    "predict": "prediction",
    "train": "run",
}

__all__ = [
    "EvalResult",
    "Split",
    "TaskData",
    "TrainConfig",
    "TrainResult",
    "TrainingError",
    "ValueMean",
    "evaluate",
    "predict",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mamba_core.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"mamba_core.training.{_LAZY[name]}"), name)
