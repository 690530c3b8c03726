"""``mamba_core.train``: from a task id to a results folder."""

from __future__ import annotations

import contextlib
import logging
import platform
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

from mamba_core._version import __version__
from mamba_core.training import records
from mamba_core.training.config import TrainConfig
from mamba_core.training.data import Split
from mamba_core.training.errors import (
    EXTRA,
    TrainingError,
    is_out_of_memory,
    memory_advice,
    require_extra,
)
from mamba_core.training.result import TrainResult
from mamba_registry.configs import make_config
from mamba_registry.specs import TaskSpec
from mamba_registry.tasks import load_ref, role_config


def train(
    task_id: str,
    *,
    preset: str | None = None,
    model: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    out: Path | str,
    resume: bool = False,
) -> TrainResult:
    """Train a task's model and keep the best one.

    The same call works in one process and in many started by ``torchrun``. ``out`` then holds
    ``best/`` (a saved model), ``metrics.csv``, ``curves.png``, ``config.json``, ``tensorboard/``
    and ``last.ckpt``.

    :param preset: of the model; None is the task's default.
    :param model: fields of the model's config, over the preset.
    :param data: fields of the data config.
    :param train: fields of the train config, see
        :class:`~mamba_core.training.config.TrainConfig`.
    :param out: results folder, new or empty.
    :param resume: go on from ``out``'s last checkpoint, on a CPU bit for bit as if the run had
        not stopped; a folder without one starts from the beginning.
    :raises DependencyMissingError: without the extra ``[train]``.
    :raises ConfigError: for fields that do not exist or values out of range.
    :raises FileExistsError: for a folder that is not empty when ``resume`` is not set.
    :raises TrainingError: for a GPU that is not there, a loss that is not finite, memory that
        ran out, a folder of another run; the message says the way out.
    :raises KeyboardInterrupt: on Ctrl-C; what was saved so far can be resumed.
    """
    require_extra(*EXTRA)
    from mamba_core import registry

    spec = registry.spec(task_id)
    config = train_config(spec, train or {})
    from mamba_core.training.strategy import (
        disconnect_at_exit,
        is_first_process,
        trainer_arguments,
        world_size,
    )

    devices = trainer_arguments(config)
    random.seed(config.seed)
    np.random.seed(config.seed % 2**32)
    torch.manual_seed(config.seed)
    built = registry.build(spec.full_id, preset=preset, **(model or {}))
    if config.gradient_checkpointing:
        checkpoint_activations(built)
    settings = role_config(spec, "data_config", data or {})
    source = load_ref(spec, "data")(settings, built.task.config)  # type: ignore[union-attr]
    if hasattr(source, "prepare"):
        source.prepare(built)
    splits = {
        "train": _not_empty(source.train(seed=config.seed), "train"),
        "val": _not_empty(source.val(seed=config.seed), "val"),
    }
    folder = Path(out)
    described = _describe(spec, preset, built, settings, config, world_size())
    checkpoint: Path | None = folder / records.LAST
    if is_first_process():
        checkpoint = records.prepare_folder(folder, described, resume=resume)
    elif not resume or not (folder / records.LAST).exists():
        checkpoint = None
    try:
        result = _fit(built, spec, config, splits, folder, checkpoint, devices)
        if hasattr(source, "finish"):
            from mamba_core.training.finish import finish

            result = finish(source, splits["val"], result, spec, config)
        return result
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            if is_first_process():
                records.remove_start(folder)
            raise memory_advice(error, config) from error
        raise
    finally:
        disconnect_at_exit()


def train_config(spec: TaskSpec, fields: Mapping[str, Any]) -> TrainConfig:
    """Return a task's train config; :class:`TrainConfig` where it has none of its own.

    :raises ConfigError: for unknown fields and values out of range.
    """
    if spec.train_config is None:
        return make_config(TrainConfig, fields)
    return role_config(spec, "train_config", fields)


def checkpoint_activations(model: nn.Module) -> None:
    """Turn on gradient checkpointing wherever the model offers it.

    :raises TrainingError: when no part of it does.
    """
    able = [m for m in model.modules() if hasattr(m, "set_gradient_checkpointing")]
    if not able:
        raise TrainingError(
            f"gradient_checkpointing=True, but no part of {type(model).__name__} has "
            "set_gradient_checkpointing (a Backbone has): leave it off, or make batch_size smaller"
        )
    for module in able:
        module.set_gradient_checkpointing(True)  # type: ignore[operator]


def _not_empty(split: Split, name: str) -> Split:
    if not len(split):
        raise TrainingError(f"The data's part '{name}' is empty: check the data config")
    return split


def _describe(
    spec: TaskSpec, preset: str | None, model: Any, data: Any, config: TrainConfig, world: int
) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return None if value is None else TypeAdapter(type(value)).dump_python(value, mode="json")

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "task": spec.full_id,
        "preset": preset or spec.default_preset,
        "model": plain(model.task.config),
        "data": plain(data),
        "train": plain(config),
        "processes": world,
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {
            "mamba_core": __version__,
            "plugin": model.task.plugin_version,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "hardware": {"machine": platform.machine(), "threads": torch.get_num_threads(), "gpu": gpu},
    }


def _fit(
    model: nn.Module,
    spec: TaskSpec,
    config: TrainConfig,
    splits: dict[str, Split],
    folder: Path,
    checkpoint: Path | None,
    devices: Mapping[str, Any],
) -> TrainResult:
    from lightning.pytorch import Trainer

    from mamba_core.training.bookkeeping import Bookkeeper
    from mamba_core.training.module import TrainingModule
    from mamba_core.training.strategy import world_size

    per_step = config.batch_size * config.accumulate * world_size()
    per_epoch = -(-len(splits["train"]) // per_step)
    steps = config.max_steps or -(-config.max_epochs * len(splits["train"]) // per_step)
    saved = None if checkpoint is None else _read(checkpoint)
    done = None if saved is None else int(saved["global_step"])
    module = TrainingModule(
        model,
        spec,
        config,
        splits,
        steps=steps,
        start=(done or 0) * config.accumulate,
        folder=folder,
    )
    book = Bookkeeper(folder, resumed_step=done)
    if saved is not None:
        book.load_state_dict(saved["callbacks"][book.state_key])
        module.skipped.copy_(saved["state_dict"]["skipped"])
    with _quiet():
        trainer = Trainer(
            **devices,
            max_epochs=-1,
            max_steps=steps,
            accumulate_grad_batches=config.accumulate,
            val_check_interval=min(config.val_every or per_epoch, steps) * config.accumulate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            logger=_tensorboard(folder),
            callbacks=[*_callbacks(config, module, book), book],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            default_root_dir=folder,
        )
        if not book.finished and (done or 0) < steps:
            _interruptible(trainer, module, checkpoint, folder)
    return _result(book, module, folder, max(trainer.global_step, done or 0))


def _interruptible(trainer: Any, module: Any, checkpoint: Path | None, folder: Path) -> None:
    """Fit; Lightning answers Ctrl-C with ``exit(1)``, callers expect KeyboardInterrupt."""
    try:
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if not trainer.interrupted:
            raise
        saved = (folder / records.LAST).exists()
        way = "resume goes on from its last checkpoint" if saved else "no checkpoint was made yet"
        print(f"Stopped at step {trainer.global_step}; {folder}: {way}", file=sys.stderr)
        raise KeyboardInterrupt from None


def _read(checkpoint: Path) -> dict[str, Any]:
    try:
        return torch.load(checkpoint, weights_only=True, mmap=True, map_location="cpu")
    except Exception as error:
        raise TrainingError(
            f"{checkpoint} cannot be read ({error}): remove it to start again, or train into "
            "another folder"
        ) from error


def _tensorboard(folder: Path) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="", version="tensorboard")


def _callbacks(config: TrainConfig, module: Any, book: Any) -> Iterator[Any]:
    from lightning.pytorch.callbacks import EarlyStopping

    from mamba_core.training.bar import TrainingBar

    if config.patience is not None:
        mode = "max" if module.meter.higher_is_better else "min"
        yield EarlyStopping("score", patience=config.patience, mode=mode)
    if sys.stderr.isatty():
        yield TrainingBar(book)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's hints about things that are settled here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _result(book: Any, module: Any, folder: Path, steps: int) -> TrainResult:
    return TrainResult(
        folder=folder,
        model=folder / records.BEST,
        score=book.best.get(module.meter.score, float("nan")),
        metrics=book.best,
        best_step=book.best_step,
        steps=steps,
        skipped=int(module.skipped),
        seconds=book.seconds,
    )
