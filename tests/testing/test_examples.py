"""The examples of a custom mixer and a custom scan order, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mamba_core.cli.new_plugin import write_plugin

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["custom_mixer", "custom_scan_order"])
def test_trains_in_every_task(name, tmp_path):
    """Beside the tasks installed here, one of a new plugin takes part."""
    folder = write_plugin("acme-birds", "acme/audio-birds", tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "MAMBA_PLUGINS_EXTRA": "acme_birds.plugin",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), "--steps", "8"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "acme/audio-birds@1" in done.stdout
    assert " -> " in done.stdout
