"""How a model is trained; tasks with other defaults derive from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainConfig:
    """Optimiser, schedule and bookkeeping of a training; steps are optimiser steps."""

    max_epochs: Count = 10
    """Passes through the training data; not used when max_steps is given."""
    max_steps: Count | None = None
    """Optimiser steps in all."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Stop after this much time, resumed parts counted; the schedule does not follow it."""
    batch_size: Count = 8
    """Items per process and forward pass."""
    accumulate: Count = 1
    """Forward passes per optimiser step."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Highest learning rate of AdamW."""
    final_lr: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Where the cosine ends, as a share of lr."""
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    """Steps of linear warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """For matrices; vectors and parameters marked ``_no_weight_decay`` have none."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (
        0.9,
        0.98,
    )
    """Of AdamW."""
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    """Largest norm of the whole gradient; None does not clip."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = 0.999
    """Decay of the averaged weights that are validated and kept; None keeps the raw ones."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes under autocast and keeps fp32 weights."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    seed: int = 0
    """Of weights, order of the data and random layers."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load data, per training process."""
    val_every: Count | None = None
    """Steps between validations; None is once per epoch."""
    patience: Count | None = None
    """Stop after so many validations without a better score."""
    checkpoint_every: Count = 500
    """Steps between checkpoints to resume from; every validation makes one too."""
    log_every: Count = 20
    """Steps between lines of metrics.csv and of the log."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto takes a GPU when there is one."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How processes started by torchrun share the work; auto is ddp."""
