"""``mamba_core.evaluate``: a trained model measured on one part of its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mamba_core.device import choose_device
from mamba_core.pretrained import target_folder
from mamba_core.training import records
from mamba_core.training.config import TrainConfig
from mamba_core.training.data import Split, eval_batches, eval_loader
from mamba_core.training.errors import (
    TrainingError,
    is_out_of_memory,
    memory_advice,
    require_extra,
)
from mamba_registry.configs import merge
from mamba_registry.specs import TaskSpec
from mamba_registry.suggest import suggest
from mamba_registry.tasks import load_ref, role_config

SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalResult:
    """What was measured."""

    task: str
    split: str
    items: int
    metrics: dict[str, float]
    """Values by name; ``loss`` too where the task has one."""


def evaluate(
    target: str | Path,
    *,
    data: Mapping[str, Any] | None = None,
    split: str = "test",
    weights: str = "default",
    device: str | None = None,
    batch_size: int = 1,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> EvalResult:
    """Measure a trained model.

    :param target: a saved model's folder, a training's results folder or its ``best`` (the
        training's data config is then the default), or a task id for its weights.
    :param data: fields of the data config.
    :param split: ``train``, ``val`` or ``test``.
    :param weights: which of the task's weights, for a task id; a folder brings its own.
    :param device: ``cpu``, ``cuda``, ...; None takes a GPU when there is one.
    :param batch_size: items at once; 1 also suits items of unequal length.
    :param seed: of the data.
    :param progress: called with ``(split, items done, in all)``.
    :raises DependencyMissingError: without the extra ``[train]``.
    :raises ConfigError: for a device that is not here, and for fields of the data.
    :raises WeightsError: for weights named beside a folder.
    :raises TrainingError: for a split that does not exist or is empty, or memory that ran out.
    """
    require_extra("torchmetrics")
    if split not in SPLITS:
        raise TrainingError(
            f"split = {split!r}.{suggest(split, SPLITS)} Splits: {', '.join(SPLITS)}."
        )
    place = choose_device(device)
    model, spec, fields = load_target(target, weights)
    settings = role_config(spec, "data_config", merge(fields, data or {}))
    source = load_ref(spec, "data")(settings, model.task.config)
    part = getattr(source, split)(seed=seed)
    if not len(part):
        raise TrainingError(f"The data's part '{split}' is empty: check the data config")
    model.to(place).eval()
    show = None if progress is None else lambda done, total: progress(split, done, total)
    metrics = measure(model, spec, part, batch_size=batch_size, progress=show)
    return EvalResult(task=spec.full_id, split=split, items=len(part), metrics=metrics)


def measure(
    model: nn.Module,
    spec: TaskSpec,
    part: Split,
    *,
    batch_size: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return a task's metrics, and its loss where it has one, over all of a part.

    :param model: in eval mode, on the device to use.
    :param progress: called with ``(items done, in all)``.
    :raises TrainingError: for memory that ran out.
    """
    from mamba_core.training.metrics import Meter

    place = next(iter([*model.parameters(), *model.buffers(), torch.empty(0)])).device
    meter = Meter(spec, load_ref(spec, "loss") if spec.loss is not None else None, alone=True)
    meter.reset(place)
    batches, _ = eval_batches(len(part), batch_size)
    try:
        with torch.inference_mode():
            for done, batch in enumerate(eval_loader(part, batches, workers=0), 1):
                batch = {name: value.to(place) for name, value in batch.items()}
                meter.update(model(**{name: batch[name] for name in spec.inputs}), batch)
                if progress is not None:
                    progress(min(done * batch_size, len(part)), len(part))
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise memory_advice(error, TrainConfig(batch_size=batch_size)) from error
        raise
    return meter.compute()


def load_target(target: str | Path, weights: str) -> tuple[Any, Any, dict[str, Any]]:
    """Return the model a target names, its task's record, and the data fields it was trained on."""
    from mamba_core import from_pretrained, registry

    saved = target_folder(target, weights)
    if saved is None:
        return registry.build(str(target), weights=weights), registry.spec(str(target)), {}
    model: Any = from_pretrained(saved)
    folder = Path(target)
    # the best weights' folder inside of a training's results: the data are those of the training
    above = records.read_run(folder.parent) if folder.name == records.BEST else None
    run = records.read_run(folder) or above or {}
    return model, registry.spec(model.task.full_id), run.get("data") or {}
