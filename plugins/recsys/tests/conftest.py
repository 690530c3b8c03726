"""What the recommendation tests share: one thread, a fixed seed, the real data where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_sets():
    """Folder of ML-100K, ML-1M and Beauty; skips where it is not installed."""
    shared = Path(os.environ.get("MAMBA_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "data" / "recsys"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set MAMBA_SHARED to the folder that holds data/")
    return folder
