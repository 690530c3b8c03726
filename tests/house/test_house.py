"""Lint, types and the shape of the checkout."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    ROOT / "mamba_core",
    ROOT / "kernels/mamba_kernels",
    ROOT / "registry/mamba_registry",
    *(p.parent for p in ROOT.glob("plugins/*/mamba_*/plugin.py")),
]
SOURCES = sorted(f for package in PACKAGES for f in package.rglob("*.py"))


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", *map(str, PACKAGES)],
    ],
    ids=["ruff", "format", "mypy"],
)
def test_tool_is_content(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_project_folders_are_not_packages() -> None:
    folders = ["kernels", "registry", "plugins", "tests", "examples"]
    assert not [f for f in folders if (ROOT / f / "__init__.py").exists()]


def test_files_stay_short() -> None:
    assert not {str(f): n for f in SOURCES if (n := len(f.read_text().splitlines())) > 400}


def test_public_names_have_docstrings() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    missing = [
        f"{f.relative_to(ROOT)}:{node.lineno} {node.name}"
        for f in SOURCES
        if not f.name.startswith("_")
        for node in ast.parse(f.read_text()).body
        if isinstance(node, kinds) and node.name[0] != "_" and not ast.get_docstring(node)
    ]
    assert not missing


def test_weights_are_small() -> None:
    large = [
        f for f in ROOT.glob("plugins/*/mamba_*/**/*.safetensors") if f.stat().st_size > 4 << 20
    ]
    assert not large


def test_cards_have_their_sections() -> None:
    cards = list(ROOT.glob("plugins/*/mamba_*/cards/*.md"))
    assert cards
    for card in cards:
        lines = card.read_text().splitlines()
        for section in ("## Data", "## Protocol", "## Measured", "## Limits"):
            assert section in lines, f"{card.name} has no section {section!r}"
