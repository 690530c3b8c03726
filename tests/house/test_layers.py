"""Imports only point down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = {p.parent.name for p in ROOT.glob("plugins/*/mamba_*/plugin.py")}
FLOORS = {
    "registry/mamba_registry": {"mamba_core", "mamba_kernels", "torch", "numpy", "lightning"},
    "kernels/mamba_kernels": {"mamba_core", "mamba_registry", "lightning"},
    "mamba_core": set(),
}


def imported(path: Path) -> set[str]:
    """Top-level names imported anywhere in a file, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_point_down(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    bad = {str(f): found for f in files if (found := imported(f) & (FLOORS[folder] | PLUGINS))}
    assert not bad


def test_only_training_knows_lightning() -> None:
    files = [*ROOT.glob("mamba_core/**/*.py"), *ROOT.glob("plugins/*/mamba_*/**/*.py")]
    users = [f for f in files if imported(f) & {"lightning", "pytorch_lightning"}]
    assert all(ROOT / "mamba_core/training" in f.parents for f in users), users
