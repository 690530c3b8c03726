"""The program of costs: what it checks and prints; not how fast anything is."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch

from mamba_vision import speed


def test_every_model_is_measured_at_every_size():
    rows = speed.plan(("vim_small", "swin_tiny"), (224, 1024))
    assert len(rows) == 2 * 2 + 2  # no training at the large size
    assert len({tuple(row.values()) for row in rows}) == len(rows)


def in_here(measure, *, seconds, gib):
    """Without a process of its own: faster, and it can be replaced."""
    return measure()


@pytest.fixture
def small(monkeypatch):
    """Models of the same names that cost nothing."""

    def make(name, side):
        return torch.nn.Sequential(torch.nn.AvgPool2d(side), torch.nn.Flatten()).eval()

    monkeypatch.setattr(speed, "make", make)
    monkeypatch.setattr(speed, "alone", in_here)
    monkeypatch.setenv("MAMBA_KERNELS_BACKEND", "reference")  # put back afterwards


def test_lines(small, tmp_path, capsys):
    words = ["--models", "vim_small", "vit_small", "--sides", "64", "--repeats", "1"]
    speed.main([*words, "--out", str(tmp_path / "a.jsonl")])
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "a.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert [row["model"] for row in rows] == ["vim_small", "vit_small"]
    assert all(row["parameters"] == 0 and row["cpu_s"] >= 0 for row in rows)


def test_a_wrong_model_is_not_measured(small, monkeypatch, capsys):
    def wrong(model, images):
        return images.mean((2, 3)) + (images.dtype == torch.float64)

    monkeypatch.setattr(speed, "logits", wrong)
    with pytest.raises(SystemExit, match="its logits are wrong"):
        speed.main(["--models", "vim_small", "--sides", "64"])
    assert not capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", speed.MODELS)
def test_a_real_model_is_right_and_is_measured(name):
    if name in speed.PEERS:
        pytest.importorskip("timm")
    found = speed.alone(partial(speed.check, name), seconds=100, gib=8)
    assert found["error"] < speed.TOLERANCE
    found = speed.alone(partial(speed.point, name, 64, True, 1), seconds=100, gib=8)
    assert 20e6 < found["parameters"] < 31e6
    assert found["mib"] is None or found["mib"] > 50  # the gradients alone
