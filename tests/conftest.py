"""What every test gets: one thread, a fixed seed, a cache of its own, the shared data if there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _seeded_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on another's random numbers or on files in the user's cache."""
    torch.manual_seed(0)
    monkeypatch.setenv("MAMBA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data: MAMBA_SHARED, else the folder ``shared`` beside the checkout."""
    folder = Path(os.environ.get("MAMBA_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set MAMBA_SHARED to the folder that holds data/")
    return folder
