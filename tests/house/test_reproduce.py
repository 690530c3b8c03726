"""Every table of ``make reproduce`` has a program that takes its arguments."""

from __future__ import annotations

import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "reproduce.py"
TABLES = runpy.run_path(str(SCRIPT))["TABLES"]
EVERY = [(task, table) for task, tables in TABLES.items() for table in tables]


@pytest.mark.parametrize(("task", "table"), EVERY, ids=lambda value: str(value)[:40])
def test_the_program_is_there(task, table):
    package = table.module.split(".")[0]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    assert importlib.util.find_spec(table.module) is not None


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )


def test_it_says_what_there_is_and_what_is_missing():
    assert "ts-forecast" in run().stderr
    assert "no table of 'nonsense'" in run("nonsense").stderr
    assert "DATA=folder is needed" in run("ts-forecast").stderr
