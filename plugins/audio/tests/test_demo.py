"""The demo program, as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "examples" / "separate_two_voices.py"


@pytest.mark.slow
@pytest.mark.skipif(not PROGRAM.exists(), reason="the examples are part of the checkout only")
def test_both_voices_become_clearer(tmp_path):
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, PROGRAM, "--out", tmp_path / "demo"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("SI-SNR improvement +") == 2
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert names == {"mixture.wav", "mixture_s1.wav", "mixture_s2.wav", "two_voices.png"}
