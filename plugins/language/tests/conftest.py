"""What the language tests share: one thread, small models, the backends that run here."""

from __future__ import annotations

import pytest
import torch

from mamba_core import registry


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def tiny():
    """An untrained model of preset tiny, its decays and gates far enough from their start."""
    torch.manual_seed(0)
    return registry.build("language-lm", preset="tiny").eval()
