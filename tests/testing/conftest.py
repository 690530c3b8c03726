from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mamba_core.testing.plugin import isolated_registry, make_plugin  # noqa: F401

LIGHT = """
from mamba_registry import TaskSpec, hookimpl

def spec(**changes):
    return TaskSpec(**{**dict(
        id="acme/toy-cls", domain="toy", summary="names a toy",
        config="acme_toy_parts:Config", builder="acme_toy_parts:Model",
        example="acme_toy_parts:example", loss="acme_toy_parts:loss",
        preset_fields="acme_toy_parts:PRESETS", presets=("tiny", "wide"),
        inputs={"x": "float[batch, time, 3]"}, outputs={"y": "float[batch, time, width]"},
        scan_orders=("raster", "bidirectional"), card="acme_toy_cards:toy.md",
    ), **changes})

@hookimpl
def mamba_tasks():
    return [spec()]
"""
PARTS = '''
import torch
from pydantic.dataclasses import dataclass
from mamba_core.config import STRICT

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    width: int = 2

PRESETS = {"tiny": {}, "wide": {"width": 8}}

class Model(torch.nn.Module):
    """Each flaw is one a real model had; a test sets one at a time."""
    flaw = None

    def __init__(self, config):
        super().__init__()
        self.layer = torch.nn.Linear(3, config.width)
        self.dead = torch.nn.Linear(3, 3) if self.flaw == "dead parameter" else None
        self.register_buffer("scale", torch.ones(()), persistent=False)
        if self.flaw == "unsaved buffer":
            self.scale.fill_(torch.rand(()))
        self.fixed = torch.ones(3, dtype=torch.float32) if self.flaw == "fixed dtype" else None

    def forward(self, x, lengths=None):
        if self.flaw == "batch mixing":
            x = x - x.mean(dim=0)
        if self.flaw == "time mixing":
            x = x + x.mean(dim=1, keepdim=True)
        if self.flaw == "noise":
            x = x + torch.rand_like(x)
        if self.fixed is not None:
            x = torch.nn.functional.linear(x, torch.diag(self.fixed))
        y = self.scale * self.layer(x)
        if self.flaw == "transposed":
            y = y.transpose(1, 2)
        return {"z" if self.flaw == "other name" else "y": y}

def example(config, *, batch_size, generator, device):
    x = torch.randn(batch_size, 5, 3, generator=generator).to(device)
    return {"x": x, "lengths": torch.tensor([5, 3, 4][:batch_size]).to(device)}

def loss(outputs, batch):
    return outputs["y"].square().mean()

def nan_loss(outputs, batch):
    return outputs["y"].mean() * float("nan")

def detached_loss(outputs, batch):
    return outputs["y"].detach().mean()

def rising_loss(outputs, batch):
    return 0 * outputs["y"].mean() + 1
'''
CARD = "# toy\n## Data\nNone.\n## Protocol\nNone.\n## Measured\nNothing.\n## Limits\nAll.\n"


@pytest.fixture
def parts(make_plugin: Callable[..., str]) -> Iterator[ModuleType]:  # noqa: F811
    """The heavy half of a small task that keeps every promise; ``acme/toy-cls`` is installed."""
    make_plugin(PARTS, name="toy_parts")
    make_plugin(LIGHT, name="toy")
    module = importlib.import_module("acme_toy_parts")
    cards = cards_of(module)
    cards.mkdir()
    (cards / "__init__.py").touch()
    (cards / "toy.md").write_text(CARD, encoding="utf-8")
    yield module
    sys.modules.pop("acme_toy_cards", None)


def cards_of(parts: ModuleType) -> Path:
    """The folder of the small task's card."""
    return Path(str(parts.__file__)).with_name("acme_toy_cards")


@pytest.fixture
def cards(parts: ModuleType) -> Path:
    """The folder of the small task's card."""
    return cards_of(parts)
