from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mamba_core.testing.plugin import make_plugin, write_plugin  # noqa: F401

GOOD = """
from mamba_registry import TaskSpec, hookimpl

@hookimpl
def mamba_tasks():
    return [TaskSpec(
        id="acme/toy-cls", domain="toy", summary="names a toy [small]",
        config="acme_heavy:Config", builder="acme_heavy:Model", example="acme_heavy:example",
        data_config="acme_heavy:Data", preset_fields="acme_heavy:PRESETS",
        inputs={"x": "float[batch, 3]"}, outputs={"y": "float[batch, width]"},
    )]
"""
HEAVY = '''
from typing import Annotated, Literal
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from mamba_core.config import STRICT

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    size: Annotated[int, Field(ge=1)] = 4
    """Channels inside."""

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    width: int = 2
    """Channels outside [B, L]."""
    norm: Literal["rms", "layer"] = "rms"
    inner: Inner = Inner()
    extra: Inner | None = None
    sizes: tuple[int, ...] = (1, 2)
    rate: float | None = None
    flag: bool = False

@dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    root: str
    """Folder of the recordings."""

PRESETS = {"tiny": {}}

class Model(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = torch.nn.Linear(3, config.width)

    def forward(self, x):
        return {"y": self.layer(x)}

def example(config, *, batch_size, generator, device):
    return {"x": torch.randn(batch_size, 3, generator=generator).to(device)}
'''


@pytest.fixture
def toy(make_plugin: Callable[..., str]) -> str:  # noqa: F811
    """A working plugin with the task acme/toy-cls; its heavy module is apart."""
    make_plugin(HEAVY, name="heavy")  # a module without hooks is a plugin that offers nothing
    make_plugin(GOOD, name="toy")
    return "acme/toy-cls"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed plugins for the command in another process: toy, and its heavy part."""
    folder = tmp_path / "packages"
    folder.mkdir()
    write_plugin(folder, GOOD, module="acme_toy", name="toy")
    (folder / "acme_heavy.py").write_text(HEAVY, encoding="utf-8")
    return folder


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(site: Path, tmp_path: Path) -> Run:
    """Run Python with the site's plugins in an empty home and an empty folder."""
    home = tmp_path / "home"
    home.mkdir()

    def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MAMBA_")}
        environment |= {"PYTHONPATH": str(site), "HOME": str(home), "COLUMNS": "100"}
        return subprocess.run(
            [sys.executable, *words],
            capture_output=True,
            text=True,
            cwd=home,
            env=environment | variables,
            timeout=120,
            check=False,
        )

    return command


@pytest.fixture
def cli(run: Run) -> Run:
    """Run ``mamba-core`` as :func:`run` runs Python."""
    return lambda *words, **variables: run(
        "-c", "from mamba_core.cli import main; main()", *words, **variables
    )
