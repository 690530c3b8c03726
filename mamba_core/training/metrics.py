"""A task's metrics and its loss, over all batches and all processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchmetrics
from torch import Tensor

from mamba_core.training.data import Batch
from mamba_registry.specs import TaskSpec
from mamba_registry.tasks import load_ref


def _never() -> bool:
    """Whether other processes are asked for their part: no."""
    return False


class Meter:
    """Measures outputs against batches.

    :param spec: the task; its first metric is the score, the loss where it has none.
    :param loss: the task's loss, None to leave it out.
    :param alone: whether this process has measured everything, though others may be there.
    """

    def __init__(
        self,
        spec: TaskSpec,
        loss: Callable[[Batch, Batch], Tensor] | None,
        *,
        alone: bool = False,
    ) -> None:
        self.loss = loss
        found = load_ref(spec, "metrics")() if spec.metrics is not None else {}
        self.metrics: dict[str, torchmetrics.Metric] = dict(found)
        self.mean_loss = torchmetrics.MeanMetric()
        if alone:
            for metric in (*self.metrics.values(), self.mean_loss):
                metric.distributed_available_fn = _never
        self.score = spec.metric_names[0] if self.metrics else "loss"

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is a better one."""
        if not self.metrics:
            return False
        return getattr(self.metrics[self.score], "higher_is_better", None) is not False

    def reset(self, device: torch.device) -> None:
        """Forget everything and move to a device."""
        for metric in (*self.metrics.values(), self.mean_loss):
            metric.reset()
            metric.to(device)

    def update(self, outputs: Batch, batch: Batch) -> None:
        """Add a batch; outputs count as float32, whatever precision made them."""
        outputs = {n: v.float() if v.is_floating_point() else v for n, v in outputs.items()}
        if self.loss is not None:
            items = len(next(iter(batch.values())))
            self.mean_loss.update(self.loss(outputs, batch), items)
        for metric in self.metrics.values():
            metric.update(outputs, batch)

    def compute(self) -> dict[str, float]:
        """Return the values by name, ``loss`` first; every process must call it, unless alone."""
        values = {} if self.loss is None else {"loss": float(self.mean_loss.compute())}
        return values | {name: float(metric.compute()) for name, metric in self.metrics.items()}
