"""The examples, as a user runs them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/vision"


def run(name, folder, *words):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_classify_a_folder(tmp_path):
    shown = run("classify_a_folder", tmp_path, "--epochs", "4")
    assert float(re.search(r"60 test images: ([\d.]+)%", shown)[1]) > 60  # chance is 33
    assert "1 of 61 files cannot be read" in shown


@pytest.mark.slow
def test_segment_a_street(tmp_path):
    shown = run("segment_a_street", tmp_path, "--steps", "30")
    assert float(re.search(r"mIoU ([\d.]+)", shown)[1]) > 0.25  # one class everywhere: below 0.15
    assert len(list((tmp_path / "street").rglob("*.png"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is missing")
def test_own_order_and_mixer(tmp_path):
    shown = run("own_order_and_mixer", tmp_path, "--steps", "60")
    shares = [float(share) for share in re.findall(r": ([\d.]+)% right", shown)]
    assert len(shares) == 3
    assert min(shares) > 30  # chance is 10
