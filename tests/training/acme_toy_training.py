"""A small task with everything a trainer meets: dropout, data that changes, failures on order."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_core.config import STRICT
from mamba_registry import TaskSpec

TASK = "acme/toy-reg"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    width: int = 6
    dropout: float = 0.2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    items: int = 10
    nan_at: int | None = None
    """The index of a training sample that holds NaN."""


class Model(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList([nn.Linear(4, config.width), nn.Linear(config.width, 1)])
        self.dropout = nn.Dropout(config.dropout)
        self.checkpointing = False

    def set_gradient_checkpointing(self, on: bool = True) -> None:
        self.checkpointing = on

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.layers[1](self.dropout(torch.tanh(self.layers[0](x))))[..., 0]}


class Switch:
    """What goes wrong, and when; tests set it, the fixture resets it."""

    fail_after: int | None = None
    """Training samples until the data raises."""
    loss: str = "good"


class Split:
    def __init__(self, seed: int, items: int, nan_at: int | None) -> None:
        self.seed, self.items, self.nan_at = seed, items, nan_at

    def __len__(self) -> int:
        return self.items

    def sample(self, epoch: int, index: int) -> dict[str, Tensor]:
        if self.seed % 3 == 0 and Switch.fail_after is not None:
            Switch.fail_after -= 1
            if Switch.fail_after < 0:
                raise ConnectionError("the data went away")
        generator = torch.Generator().manual_seed(self.seed * 10_000 + epoch * 100 + index)
        x = torch.randn(4, generator=generator)
        if index == self.nan_at:
            x[0] = torch.nan
        return {"x": x, "target": x.sum() / 2}


class Source:
    def __init__(self, data: Data, model: Config) -> None:
        self.data = data

    def train(self, *, seed: int) -> Split:
        return Split(3 * seed, self.data.items, self.data.nan_at)

    def val(self, *, seed: int) -> Split:
        return Split(3 * seed + 1, 5, None)

    def test(self, *, seed: int) -> Split:
        return Split(3 * seed + 2, 7, None)


def loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    error = (outputs["y"] - batch["target"]).square().mean()
    if Switch.loss == "infinite gradient":
        return error + torch.sqrt(0 * outputs["y"]).sum()
    if Switch.loss == "out of memory":
        raise torch.OutOfMemoryError("tried to allocate 20 GiB")
    return error


class Closeness(torchmetrics.Metric):
    """Minus the mean absolute error."""

    higher_is_better = True
    total: Tensor
    items: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("items", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        self.total -= (outputs["y"] - batch["target"]).abs().sum()
        self.items += len(batch["target"])

    def compute(self) -> Tensor:
        return self.total / self.items


def metrics() -> dict[str, torchmetrics.Metric]:
    return {"closeness": Closeness()}


def example(config: Config, *, batch_size: int, generator: Any, device: Any) -> dict[str, Tensor]:
    return {"x": torch.randn(batch_size, 4, generator=generator).to(device)}


PRESETS = {"tiny": {}, "wide": {"width": 12}}


def make_spec(**changes: Any) -> TaskSpec:
    fields: dict[str, Any] = {
        "id": TASK,
        "domain": "toy",
        "summary": "half the sum of four numbers",
        "config": Config,
        "builder": Model,
        "example": example,
        "data": Source,
        "data_config": Data,
        "loss": loss,
        "metrics": metrics,
        "metric_names": ("closeness",),
        "inputs": {"x": "float[batch, 4]"},
        "outputs": {"y": "float[batch]"},
        "presets": ("tiny", "wide"),
        "preset_fields": "acme_toy_training:PRESETS",
    }
    return TaskSpec(**(fields | changes))
