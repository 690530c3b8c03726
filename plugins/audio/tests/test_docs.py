"""The page about audio: its commands name options that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

PAGE = Path(__file__).resolve().parents[3] / "docs" / "audio.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the pages are part of the checkout only")
def test_commands_parse(tmp_path, monkeypatch):
    from mamba_core import registry
    from mamba_core.cli import predict, train
    from mamba_core.pretrained import save_pretrained

    monkeypatch.chdir(tmp_path)
    save_pretrained(registry.build("audio-sep", preset="tiny"), tmp_path / "RUN")
    apps = {"predict": predict.app, "train": train.app}
    lines = re.findall(r"^\$ mamba-core (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        name, *words = shlex.split(line)
        get_command(apps[name](words)).make_context(name, list(words))


@pytest.mark.skipif(not PAGE.exists(), reason="the pages are part of the checkout only")
def test_modules_exist():
    import importlib.util

    modules = set(re.findall(r"^python -m (\S+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert len(modules) == 5
    assert all(importlib.util.find_spec(module) for module in modules)
