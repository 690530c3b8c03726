"""Fixtures for plugin authors: ``pytest -p mamba_core.testing.plugin``.

Opt-in: an entry point would load this into every pytest run of the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mamba_core import registry


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of the slow checks, for runs with ``--strict-markers``."""
    config.addinivalue_line("markers", "slow: more than five seconds")


@pytest.fixture
def isolated_registry() -> Iterator[ModuleType]:
    """``mamba_core.registry`` without any installed plugin; restored afterwards.

    Register what the test needs. A task that only an installed plugin offers is not found, on
    purpose: a test must not depend on what else is installed.
    """
    with registry.isolated():
        yield registry


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Install a plugin from source text, as pip would: a module and its dist-info.

    ``make_plugin(source, name="birds")`` returns the name of the module, ``acme_birds``. The
    distribution ``acme-birds`` has the entry point ``birds`` and is gone after the test.
    """
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules: list[str] = []

    def make(source: str, *, name: str = "birds", version: str = "1.0") -> str:
        module = f"acme_{name.replace('-', '_')}"
        modules.append(module)
        write_plugin(folder, source, module=module, name=name, version=version)
        registry.refresh()
        return module

    yield make
    for module in modules:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    registry.refresh()


def write_plugin(
    folder: Path, source: str, *, module: str, name: str, version: str = "1.0"
) -> None:
    """Write an installed distribution into ``folder``: one module with one entry point.

    :param name: the entry point's name; the distribution is ``module`` with hyphens.
    """
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"  # underscores: hyphens would hide the rest
    info.mkdir()
    distribution = module.replace("_", "-")
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = f"[mamba_core.plugins]\n{name} = {module}\n"
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
