"""What the graph tests share: one thread, a fixed seed, the real data where it is, made graphs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # graph_cases, for all files of this folder

from graph_cases import random_graph

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded_and_alone(tmp_path, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setenv("MAMBA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def shared_graphs():
    """Folder with ``pyg/`` and ``folds/``; skips where it is not installed."""
    shared = Path(os.environ.get("MAMBA_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "data" / "graph"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}: set MAMBA_SHARED to the folder that holds data/")
    return folder


@pytest.fixture
def mixed_sizes():
    """One-node, two-node, edgeless, disconnected and ordinary graphs."""
    return [
        random_graph(1, 0),
        random_graph(2, 1),
        random_graph(5, 0, 1),
        random_graph(12, 5, 2),
        random_graph(30, 60, 3),
        random_graph(1, 1, 4),
    ]
