"""What the vision tests share: one thread, a fixed seed, the real data where it is."""

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


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared():
    """Folder with ``data/`` and ``golden/``; skips where it is not installed."""
    folder = Path(os.environ.get("MAMBA_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set MAMBA_SHARED to the folder that holds data/ and golden/")
    return folder


@pytest.fixture(scope="module")
def tiny():
    """An untrained model of preset tiny."""
    torch.manual_seed(0)
    return registry.build("vision-cls", preset="tiny").eval()
