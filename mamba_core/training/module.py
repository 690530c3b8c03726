"""The LightningModule around a task's plain model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from mamba_core.training.config import TrainConfig
from mamba_core.training.data import (
    Batch,
    SampleStream,
    Split,
    eval_batches,
    eval_loader,
    train_loader,
)
from mamba_core.training.errors import TrainingError
from mamba_core.training.metrics import Meter
from mamba_core.training.optim import lr_share, make_optimizer, update_average
from mamba_core.training.records import LAST
from mamba_registry.specs import TaskSpec
from mamba_registry.tasks import load_ref

BAD_BATCH = "nan_batch.safetensors"
"""File in the results folder: the batch whose loss was not finite."""

MAX_SKIPPED = 25
"""Steps in a row with a gradient that is not finite, after which training stops."""


class TrainingModule(pl.LightningModule):
    """What Lightning drives: loss, optimiser, averaged weights, validation.

    :param model: the task's model.
    :param spec: the task's record.
    :param config: how to train.
    :param splits: the parts ``train`` and ``val``.
    :param steps: optimiser steps in all.
    :param start: batches of each process that an earlier part of the run used.
    :param folder: where a batch with a loss that is not finite is saved.
    """

    skipped: Tensor
    skipped_in_a_row: Tensor

    def __init__(
        self,
        model: nn.Module,
        spec: TaskSpec,
        config: TrainConfig,
        splits: Mapping[str, Split],
        *,
        steps: int,
        start: int,
        folder: Path,
    ) -> None:
        super().__init__()
        self.model = model
        self.average = copy.deepcopy(model).requires_grad_(False) if config.ema else None
        self.spec, self.config, self.splits = spec, config, splits
        self.steps, self.start, self.folder = steps, start, folder
        self.loss: Callable[[Batch, Batch], Tensor] = load_ref(spec, "loss")
        self.meter = Meter(spec, self.loss)
        self.register_buffer("skipped", torch.zeros((), dtype=torch.int64))
        self.register_buffer("skipped_in_a_row", torch.zeros((), dtype=torch.int64))
        self.losses: list[Tensor] = []
        self.grad_norm = torch.zeros(())
        self.values: dict[str, float] = {}
        self._counting_batches = 0

    @property
    def kept(self) -> nn.Module:
        """The model that is validated and saved: the averaged one where there is one."""
        return self.model if self.average is None else self.average

    def configure_model(self) -> None:
        """Shard over the processes when FSDP2 is asked for."""
        if self.config.strategy == "fsdp":
            from mamba_core.training.strategy import shard

            for network in (self.model, self.average):
                if network is not None:
                    shard(network, self.device_mesh)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the endless training data of this process."""
        split, config = self.splits["train"], self.config
        stream = SampleStream(
            len(split),
            config.batch_size,
            seed=config.seed,
            rank=self.global_rank,
            world=self.trainer.world_size,
            start=self.start,
        )
        return train_loader(split, stream, workers=config.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return this process's share of the validation data."""
        split, config = self.splits["val"], self.config
        batches, self._counting_batches = eval_batches(
            len(split), config.batch_size, rank=self.global_rank, world=self.trainer.world_size
        )
        return eval_loader(split, batches, workers=config.workers)

    def forward(self, network: nn.Module, batch: Batch) -> Batch:
        """Call a model with the inputs its record names."""
        return network(**{name: batch[name] for name in self.spec.inputs})

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        :raises TrainingError: when it is not finite; the batch is saved.
        """
        loss = self.loss(self(self.model, batch), batch)
        if not torch.isfinite(loss):
            raise self._bad_loss(loss, batch)
        self.losses.append(loss.detach())
        return loss

    def _bad_loss(self, loss: Tensor, batch: Batch) -> TrainingError:
        name = BAD_BATCH if self.global_rank == 0 else f"rank{self.global_rank}_{BAD_BATCH}"
        path = self.folder / name
        save_file({n: value.cpu().contiguous() for n, value in batch.items()}, path)
        bad = [n for n, value in batch.items() if not torch.isfinite(value).all()]
        why = (
            f"The data is at fault: {', '.join(bad)} holds NaN or infinity"
            if bad
            else "The data is finite: try a lower lr, more warmup_steps, or a smaller clip"
        )
        saved = (self.folder / LAST).exists()
        last = "the last checkpoint was made before this step" if saved else "no checkpoint yet"
        return TrainingError(
            f"The loss is {loss.item()} at step {self.global_step}. {why}.\n"
            f"The batch is saved as {path}; {last}."
        )

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule."""
        optimizer = make_optimizer(self.model, self.config)
        schedule = LambdaLR(optimizer, lr_share(self.config, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm; a gradient that is not finite is dropped, counted, and reported.

        :raises TrainingError: after :data:`MAX_SKIPPED` such steps in a row.
        """
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])  # type: ignore[misc]
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.grad_norm = norm.detach()
        if torch.isfinite(norm):
            self.skipped_in_a_row.zero_()
            if self.config.clip is not None:
                nn.utils.clip_grads_with_norm_(parameters, self.config.clip, norm)
            return
        optimizer.zero_grad(set_to_none=True)  # AdamW leaves parameters without gradient alone
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= MAX_SKIPPED:
            raise TrainingError(
                f"The gradient was not finite in {MAX_SKIPPED} steps in a row (up to step "
                f"{self.global_step}): try a lower lr, precision='fp32', or a smaller clip"
            )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the averaged weights: before any checkpoint of this step is made."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None and self.config.ema is not None:
            update_average(self.average, self.model, self.config.ema, self.global_step)

    def on_validation_epoch_start(self) -> None:
        """Begin to measure anew."""
        self.meter.reset(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch; one that only fills up is computed and not counted."""
        outputs = self(self.kept, batch)
        if batch_idx < self._counting_batches:
            self.meter.update(outputs, batch)

    def on_validation_epoch_end(self) -> None:
        """Give the score to early stopping; the bookkeeper writes the values down."""
        self.values = self.meter.compute()
        self.log("score", self.values[self.meter.score], logger=False, rank_zero_only=False)
