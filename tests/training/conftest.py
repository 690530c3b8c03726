"""The toy task of ``acme_toy_training.py``, alone in the registry."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mamba_core import registry


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the task; its ``Switch`` is reset afterwards."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    module = importlib.import_module("acme_toy_training")
    with registry.isolated(module.make_spec()):
        yield module
    module.Switch.fail_after, module.Switch.loss = None, "good"
