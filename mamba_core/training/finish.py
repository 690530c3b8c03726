"""What a task's data sets in the best model once its weights are trained."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from mamba_core.cli.output import terminal_progress
from mamba_core.device import choose_device
from mamba_core.pretrained import from_pretrained, save_pretrained
from mamba_core.training.config import TrainConfig
from mamba_core.training.data import Split
from mamba_core.training.evaluation import measure
from mamba_core.training.result import TrainResult
from mamba_core.training.strategy import is_first_process
from mamba_registry.specs import TaskSpec


def finish(
    source: Any, val: Split, result: TrainResult, spec: TaskSpec, config: TrainConfig
) -> TrainResult:
    """Hand the best model to ``source.finish``, measure it anew and save it in its place.

    Done again with the same weights it gives the same model, so a finished run may be resumed.

    :param source: the task's data, with ``finish(model, seed=...)``.
    :param val: the validation data, which the saved values are of.
    :returns: the result, its values those of the finished model; equal in every process.
    """
    values: dict[str, float] = {}
    if is_first_process() and result.model.exists():
        model = from_pretrained(result.model)
        source.finish(model, seed=config.seed)
        model.to(choose_device("cpu" if config.device == "cpu" else None))
        with terminal_progress() as bar:
            values = measure(
                model, spec, val, batch_size=config.batch_size,
                progress=None if bar is None else lambda n, of: bar("validation", n, of),
            )  # fmt: skip
        save_pretrained(model, result.model, metrics=values)
    if torch.distributed.is_initialized():
        told = [values]
        torch.distributed.broadcast_object_list(told)
        values = told[0]
    if not values:
        return result  # no validation was finite, so no model was kept
    score = spec.metric_names[0] if spec.metric_names else "loss"
    return dataclasses.replace(result, metrics=values, score=values[score])
