"""Examples in docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [
    ROOT / "registry/mamba_registry",
    ROOT / "kernels/mamba_kernels",
    ROOT / "mamba_core",
    *(plugin.parent for plugin in ROOT.glob("plugins/*/mamba_*/plugin.py")),
]
FILES = [
    (folder, path)
    for folder in FOLDERS
    for path in sorted(folder.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


def module_name(folder, path):
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", [module_name(*file) for file in FILES])
def test_examples(name, capsys):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried, f"{name} has >>> where doctest does not see it"
    assert not failed, capsys.readouterr().out


def test_every_hook_has_an_example():
    from mamba_registry.hookspecs import MambaSpecs

    hooks = [value for name, value in vars(MambaSpecs).items() if name.startswith("mamba_")]
    assert len(hooks) == 6
    assert all(">>> @hookimpl" in hook.__doc__ for hook in hooks)
