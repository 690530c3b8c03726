"""Starts the tests of the interpreter in a process of their own, and what holds without."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mamba_kernels import backends

HERE = Path(__file__).parent
CPU = backends.Call("selective_scan", "cpu", torch.float32)


def _triton() -> backends.Backend:
    return next(b for b in backends.available() if b.name == "triton")


def test_refuses_a_cpu_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    reason = _triton().supports(CPU)
    assert reason is not None
    assert "triton" in reason


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
@pytest.mark.parametrize(
    ("dtype", "features", "why"),
    [
        (torch.float64, (), "float64"),
        (torch.float32, ("double",), "float64"),
        (torch.float32, ("complex",), "real A"),
        (torch.float32, ("constant",), "change over time"),
    ],
)
def test_refuses_with_reasons(
    dtype: torch.dtype, features: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    reason = _triton().supports(backends.Call("selective_scan", "cpu", dtype, features))
    assert reason is not None
    assert why in reason


@pytest.mark.slow  # about a minute
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_interpreter() -> None:
    files = [str(HERE / name) for name in ("test_interpreter.py", "test_segments.py")]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-x"]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("MAMBA_KERNELS_BACKEND", None)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\d+ passed", done.stdout) or "numpy < 2.4" in done.stdout
