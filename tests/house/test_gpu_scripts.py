"""What is prepared for a machine with a GPU is right as far as it can be seen without one."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from mamba_core import bench

ROOT = Path(__file__).resolve().parents[2]
RUN = runpy.run_path(str(ROOT / "scripts/gpu_run.py"))
BENCHES = [step for step in RUN["STEPS"] if step.name.startswith("bench-")]


@pytest.mark.parametrize("step", BENCHES, ids=lambda step: step.name)
def test_sizes_and_peers_of_the_benchmarks_exist(step):
    name = step.name.removeprefix("bench-")
    words = dict(zip(step.command, step.command[1:], strict=False))
    fields = {
        flag.removeprefix(f"--{name}."): json.loads(value) if value[0] in "[0123456789" else value
        for flag, value in words.items()
        if flag.startswith(f"--{name}.")
    }
    found = bench.find(name)
    found.Config(**fields)
    assert fields["dtype"] == "bfloat16"
    assert "cuda" in found.DEVICES
    against = [b for a, b in zip(step.command, step.command[1:], strict=False) if a == "--against"]
    assert set(against) <= set(found.PEERS)


def test_the_files_of_tests_are_there():
    named = {word for step in RUN["STEPS"] for word in step.command if word.endswith(".py")}
    assert named
    assert all((ROOT / name).is_file() for name in named)


@pytest.mark.parametrize(
    ("program", "more", "left", "became"),
    [
        ("print('hello')", {}, 60, "ok"),
        ("raise SystemExit(3)", {}, 60, "exit code 3"),
        ("import time; time.sleep(60)", {"seconds": 1}, 60, "ran out of its time"),
        ("print('hello')", {"needs": "no-such-program"}, 60, "left out: no no-such-program here"),
        ("print('hello')", {}, 0.5, "left out: no time"),
    ],
)
def test_a_step_says_what_became_of_it(tmp_path, program, more, left, became):
    fields = {"name": "x", "seconds": 30, "command": (sys.executable, "-c", program), **more}
    assert RUN["run"](RUN["Step"](**fields), tmp_path, left) == became
    if became == "ok":
        assert "hello" in (tmp_path / "x.log").read_text()


def test_what_a_bundle_never_carries(tmp_path, monkeypatch):
    bundle = runpy.run_path(str(ROOT / "scripts/gpu_bundle.py"))
    for name in ("numpy-2.5.0.whl", "torch-2.11.0.whl", "nvidia_cublas-13.whl", "pydantic-2.whl"):
        (tmp_path / name).touch()
    monkeypatch.setattr("subprocess.run", lambda *args, **more: None)
    bundle["download"](["pydantic"], "3.12", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pydantic-2.whl"]
