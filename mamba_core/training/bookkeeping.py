"""What happens around the steps: log lines, metrics, checkpoints, the best model, time."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from mamba_core.pretrained import save_pretrained
from mamba_core.training import records
from mamba_core.training.module import TrainingModule
from mamba_core.training.strategy import whole_state


def rng_state() -> dict[str, Any]:
    """Return the state of every global random generator, as plain data and tensors."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(gauss),
        ),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Bring all global random generators to what :func:`rng_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


class Bookkeeper(Checkpoint):
    """Writes the results folder. Lightning calls it after all other callbacks, so a checkpoint
    holds their state of the same step.

    :param folder: the results folder.
    :param resumed_step: the step a resumed run starts after, None for a fresh one.
    """

    def __init__(self, folder: Path, *, resumed_step: int | None) -> None:
        self.folder, self.resumed_step = folder, resumed_step
        self.best: dict[str, float] = {}
        self.best_step = 0
        self.seconds = 0.0
        self.finished = False
        """Whether early stopping ended the run: resuming it must not go on."""
        self.loss: float | None = None
        """Of training, the mean since the line of the log before the last one."""
        self._stopping = False
        self._restored: list[dict[str, Any]] | None = None
        self._since = (0.0, 0)
        self._step = resumed_step or 0
        self._file: records.MetricsFile | None = None
        self._last_tick = 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; part of the checkpoint."""
        names = ("best", "best_step", "seconds", "finished")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what an earlier part of the run left."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Add every process's random generators."""
        states: list[Any] = [rng_state()]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, rng_state())
        checkpoint["mamba_rng"] = states

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Keep the generators' states until the first step."""
        self._restored = checkpoint["mamba_rng"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Open ``metrics.csv``."""
        self._since = (time.monotonic(), self._step)
        self._last_tick = time.monotonic()
        if trainer.is_global_zero:
            self._file = records.MetricsFile(
                self.folder / records.METRICS,
                self._columns(pl_module),
                resumed_step=self.resumed_step,
            )

    def _columns(self, module: TrainingModule) -> list[str]:
        fixed = ["step", "epoch", "seconds", "lr", "train_loss", "grad_norm", "skipped"]
        return [*fixed, "val_loss", *(f"val_{name}" for name in module.meter.metrics)]

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Restore the generators: as late as possible, setting up may have used them."""
        if self._restored is not None:
            set_rng_state(self._restored[trainer.global_rank])
            self._restored = None

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each optimiser step: log, look at the clock, save when it is time."""
        step = trainer.global_step
        if step == self._step:
            return  # gradients are still being accumulated
        self._step = step
        self._tick()
        config = pl_module.config
        last = step >= pl_module.steps
        if step % config.log_every == 0 or last:
            self._log_step(trainer, pl_module)
        if last or self._time_is_up(trainer, config.max_minutes):
            # Lightning validates before it stops, which saves too
            trainer.should_stop = self._stopping = True
        elif step % config.checkpoint_every == 0 and not self._validates_next(trainer):
            self.save(trainer)

    def _tick(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._last_tick
        self._last_tick = now

    def _time_is_up(self, trainer: pl.Trainer, minutes: float | None) -> bool:
        """The first process decides: clocks differ, and all must stop at one step."""
        if minutes is None:
            return False
        return bool(trainer.strategy.broadcast(self.seconds >= 60 * minutes))

    @staticmethod
    def _validates_next(trainer: Any) -> bool:
        """A checkpoint made before a validation of the same step would lose that validation."""
        every = trainer.val_check_batch
        return (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0

    def _log_step(self, trainer: Any, module: TrainingModule) -> None:
        losses, module.losses = module.losses, []
        now, step = time.monotonic(), self._step
        rate = (step - self._since[1]) / max(now - self._since[0], 1e-9)
        self._since = (now, step)
        config, items = module.config, len(module.splits["train"])
        per_step = config.batch_size * config.accumulate * trainer.world_size
        row = {
            "step": step,
            "epoch": step * per_step / items,
            "seconds": self.seconds,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": float(torch.stack(losses).mean()),
            "grad_norm": float(module.grad_norm),
            "skipped": int(module.skipped),
        }
        self.loss = row["train_loss"]
        self._write(trainer, row)
        self._say(
            trainer,
            f"step {step}/{module.steps}  epoch {row['epoch']:.2f}  loss {row['train_loss']:.4f}  "
            f"lr {row['lr']:.2e}  grad norm {row['grad_norm']:.3g}  {rate:.2f} steps/s"
            + (f"  {row['skipped']} steps skipped (gradient not finite)" if row["skipped"] else ""),
        )

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the values down, keep the model when it is the best so far, save."""
        if trainer.sanity_checking:
            return
        values, score = pl_module.values, pl_module.meter.score
        self._write(
            trainer,
            {"step": self._step, "seconds": self.seconds}
            | {f"val_{name}": value for name, value in values.items()},
        )
        better = self._is_better(values[score], score, pl_module.meter.higher_is_better)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self._say(trainer, f"step {self._step}: validation  {shown}{'  (best)' if better else ''}")
        if better:
            self.best, self.best_step = dict(values), self._step
            self._keep(trainer, pl_module)
        if trainer.is_global_zero:
            records.draw_curves(self.folder, score)
        self.finished = trainer.should_stop and not self._stopping
        self.save(trainer)
        self._last_tick = time.monotonic()

    def _is_better(self, value: float, score: str, higher: bool) -> bool:
        if not np.isfinite(value):
            return False
        old = self.best.get(score)
        return old is None or (value > old if higher else value < old)

    def _keep(self, trainer: Any, module: TrainingModule) -> None:
        model: nn.Module = module.kept
        if module.config.strategy == "fsdp":
            model = self._whole(module)
        if trainer.is_global_zero:
            save_pretrained(model, self.folder / records.BEST, metrics=self.best)

    @staticmethod
    def _whole(module: TrainingModule) -> nn.Module:
        from mamba_registry.tasks import load_ref

        state = whole_state(module.kept)
        record: Any = module.model.task
        model = load_ref(module.spec, "builder")(record.config)
        if state:  # the first process only
            model.load_state_dict(state)
        model.task = record
        return model

    def save(self, trainer: Any) -> None:
        """Write ``last.ckpt``; the old one stays until the new one is whole."""
        path = self.folder / records.LAST
        new = path.with_name(f".{path.name}.new")
        try:
            trainer.save_checkpoint(new)
            if trainer.is_global_zero:
                os.replace(new, path)
        finally:
            if trainer.is_global_zero:
                new.unlink(missing_ok=True)

    def _write(self, trainer: Any, row: dict[str, float]) -> None:
        if self._file is not None:
            self._file.add(row)
        if trainer.logger is not None:
            trainer.logger.log_metrics(
                {n: v for n, v in row.items() if n != "step"}, step=int(row["step"])
            )

    @staticmethod
    def _say(trainer: Any, line: str) -> None:
        """One line of the log; on a terminal the progress bar is there for the steps."""
        if trainer.is_global_zero and (not sys.stderr.isatty() or "validation" in line):
            print(line, file=sys.stderr, flush=True)
