"""What training can complain about, and the advice that goes with it."""

from __future__ import annotations

import importlib
import sys

import torch

from mamba_core.training.config import TrainConfig
from mamba_registry.errors import DependencyMissingError, MambaRegistryError

EXTRA = ("lightning", "torchmetrics", "matplotlib", "tensorboard")
"""What ``mamba-core[train]`` brings."""


class TrainingError(MambaRegistryError):
    """Raised when a training cannot start or go on; the message says the way out."""


def require_extra(*names: str) -> None:
    """Check that libraries of ``[train]`` import.

    :param names: of :data:`EXTRA`.
    :raises DependencyMissingError: with the one line that installs them all.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise DependencyMissingError(
                f"Training and evaluation need {name} ({error}): "
                f"{sys.executable} -m pip install 'mamba-core[train]'"
            ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out, on a device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def memory_advice(error: BaseException, config: TrainConfig) -> TrainingError:
    """Turn an out-of-memory error into what to change, with this run's values."""
    advice = []
    if config.batch_size > 1:
        half = config.batch_size // 2
        advice.append(
            f"batch_size={half} with accumulate={2 * config.accumulate} "
            f"(now {config.batch_size} and {config.accumulate}; the effect stays about the same)"
        )
    if not config.gradient_checkpointing:
        advice.append("gradient_checkpointing=True")
    if config.precision == "fp32":
        advice.append("precision='bf16'")
    advice.append("shorter inputs or a smaller model")
    first = str(error).strip().split("\n")[0] or type(error).__name__
    return TrainingError(f"Out of memory: {first}\nTry, in this order: {'; '.join(advice)}.")
