"""How long Python needs until ``mamba_core`` is there: whole processes, from start to end."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from mamba_core.bench.measure import Case, Contender, Verdict
from mamba_core.config import STRICT

PEERS: Mapping[str, Any] = {}
DEVICES = ("cpu",)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Nothing to choose."""


def cases(config: Config, against: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Bare Python, the import, and the command that lists the tasks."""
    python = [sys.executable, "-c"]
    command = Path(sysconfig.get_path("scripts")) / "mamba-core"
    missing = None if command.exists() else "the command mamba-core is not installed beside Python"
    contenders = (
        _process("python", [*python, "pass"]),
        _process("python, import mamba_core", [*python, "import mamba_core"]),
        _process("mamba-core list", [str(command), "list"], skip=missing),
    )
    yield Case("startup", {}, contenders, judge)


def judge(done: subprocess.CompletedProcess[str]) -> Verdict:
    """A process that ends with an error was not a start."""
    if done.returncode == 0:
        return Verdict()
    lines = done.stderr.strip().splitlines() or ["no message"]
    return Verdict(None, f"exit code {done.returncode}: {lines[-1]}")


def _process(name: str, words: list[str], skip: str | None = None) -> Contender:
    def call() -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, capture_output=True, text=True, check=False)

    return Contender(name, call, skip=skip)
