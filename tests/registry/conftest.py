"""Real distributions with dist-info, an environment without MAMBA_*, a registry that forgets."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mamba_core import registry
from mamba_core.testing.plugin import write_plugin
from mamba_registry import TaskSpec, catalog, known

TASK = """
from mamba_registry import TaskSpec, hookimpl

@hookimpl
def mamba_tasks():
    return [TaskSpec(
        id={id!r}, version={version}, domain="toy", summary="a toy", config="acme_parts:Config",
        builder="acme_parts:Model", example="acme_parts:example", predictor="acme_parts:Predictor",
        predict_config="acme_parts:Predict", preset_fields="acme_parts:PRESETS",
        presets=("tiny", "base"), default_preset="base", {more}
    )]
"""
PARTS = """
from typing import Annotated, Literal
import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from mamba_core.config import STRICT

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Encoder:
    dim: Annotated[int, Field(ge=1, le=512)] = 64
    kernel: Annotated[int, Field(gt=0, lt=100)] = 16

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    sources: Annotated[int, Field(ge=1)] = 2
    norm: Literal["rms", "layer"] = "rms"
    encoder: Encoder = Encoder(dim=96)
    extra: Encoder | None = None

    @model_validator(mode="after")
    def _fit(self):
        if self.sources > self.encoder.dim:
            raise ValueError(f"sources = {self.sources} needs an encoder.dim of at least as much")
        return self

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Predict:
    chunk: float = 1.0

PRESETS = {"tiny": {"encoder": {"dim": 4}}, "base": {"encoder": {"dim": 8, "kernel": 4}}}

class Model(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = torch.nn.Linear(config.encoder.dim, config.sources)

    def forward(self, x):
        return {"y": self.layer(x)}

class Predictor:
    def __init__(self, model, config, *, spec, device):
        self.model, self.config, self.spec, self.device = model, config, spec, device

def example(config, *, batch_size, generator, device):
    return {"x": torch.randn(batch_size, config.encoder.dim, generator=generator).to(device)}
"""


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing a test registers or sets is left to the next."""
    for name in ("AUTOLOAD", "EXTRA", "BLOCK", "STRICT"):
        monkeypatch.delenv(f"MAMBA_PLUGINS_{name}", raising=False)
    monkeypatch.setattr(catalog, "_session", {})
    # an official plugin that is never installed: the real ones may be
    for name in ("weather-now", "weather-next"):
        monkeypatch.setitem(known.KNOWN_TASKS, name, "mamba-weather")
    monkeypatch.setitem(known.KNOWN_DOMAINS, "weather", "mamba-weather")
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """``install(source, name)`` puts a distribution ``acme-NAME`` where Python finds it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def put(source: str, name: str, *, module: str | None = None, version: str = "1.0") -> str:
        module = module or f"acme_{name}"
        write_plugin(folder, source, module=module, name=name, version=version)
        registry.refresh()
        return module

    yield put
    for name in [name for name in sys.modules if name.startswith(("acme_", "mamba_weather"))]:
        del sys.modules[name]


@pytest.fixture
def add_module(install: Callable[..., str], tmp_path: Path) -> Callable[[str, str], None]:
    """Write an importable module that is no plugin."""

    def add(name: str, source: str) -> None:
        (tmp_path / "site" / f"{name}.py").write_text(source, encoding="utf-8")
        importlib.invalidate_caches()

    return add


@pytest.fixture
def task(install: Callable[..., str], add_module: Callable[[str, str], None]) -> Callable[..., str]:
    """``task(id, name=...)`` installs a plugin with one working task and returns its id."""

    def offer(
        id: str = "acme/toy-cls",
        name: str = "toy",
        *,
        version: int = 1,
        more: str = "",
        module: str | None = None,
    ) -> str:
        add_module("acme_parts", PARTS)
        install(TASK.format(id=id, version=version, more=more), name, module=module)
        return id

    return offer


@pytest.fixture
def set_variable(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``set_variable(BLOCK="toy")`` sets MAMBA_PLUGINS_BLOCK."""

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"MAMBA_PLUGINS_{name}", value)
        registry.refresh()

    return put


@pytest.fixture
def plugin() -> Callable[[str], Any]:
    """``plugin(name)`` is what became of that plugin."""

    def find(name: str) -> Any:
        (found,) = (info for info in registry.plugins() if info.name == name)
        return found

    return find


@pytest.fixture
def spec() -> Callable[..., TaskSpec]:
    """A valid record, with changes."""

    def make(**changes: Any) -> TaskSpec:
        fields: dict[str, Any] = {
            "id": "acme/toy-cls",
            "domain": "toy",
            "summary": "a toy",
            "config": "acme_parts:Config",
            "builder": "acme_parts:Model",
            "example": "acme_parts:example",
            "preset_fields": "acme_parts:PRESETS",
        }
        return TaskSpec(**(fields | changes))

    return make
