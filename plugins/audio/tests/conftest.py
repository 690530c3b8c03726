"""What the audio tests share: one thread, the real data where it is, a small model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mamba_core import registry

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def libri8k():
    """Folder of the real data; skips where it is not installed."""
    shared = Path(os.environ.get("MAMBA_SHARED", REPOSITORY.parent / "shared"))
    root = shared / "data" / "audio" / "libri8k"
    if not root.is_dir():
        pytest.skip(f"no libri8k data in {root}: set MAMBA_SHARED to the folder that holds data/")
    return root


@pytest.fixture(scope="session")
def tiny():
    """An untrained model of preset tiny."""
    torch.manual_seed(0)
    return registry.build("audio-sep", preset="tiny").eval()
