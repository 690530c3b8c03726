"""The programs behind the tables: they train what is missing, and nothing twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mamba_vision.classification import reproduce as classification
from mamba_vision.segmentation import reproduce as segmentation


def rows(capsys) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny,")]


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("test", 20)):
        arrays[f"x_{part}"] = rng.integers(0, 255, (count, 16, 16, 3), dtype=np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % 10
    np.savez(tmp_path / "images.npz", **arrays)
    return tmp_path / "images.npz"


def test_labels(images, tmp_path, capsys, monkeypatch):
    table = dataclasses.replace(classification.TABLES["mnist"], steps={"tiny": 4}, warmup_steps=1)
    monkeypatch.setitem(classification.TABLES, "mnist", table)
    words = ["mnist", "--data", str(images), "--out", str(tmp_path / "runs"), "--seeds", "0", "1"]
    classification.main(words)
    (first,) = rows(capsys)
    assert first.startswith("tiny, 4 steps: 0.")
    assert " ± " in first

    monkeypatch.setattr("mamba_core.train", lambda *_, **__: pytest.fail("was trained before"))
    classification.main(words)
    assert rows(capsys) == [first]


def test_unknown_network(images, tmp_path, capsys):
    words = ["cifar", "--data", str(images), "--out", str(tmp_path), "--models", "vgg"]
    with pytest.raises(SystemExit):
        classification.main(words)
    assert "not in this table: vgg; there are cifar_250k" in capsys.readouterr().err


def test_masks(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for part in ("train", "val", "test"):
        for folder, shape in ((part, (16, 16, 3)), (f"{part}annot", (16, 16))):
            (tmp_path / folder).mkdir()
            for k in range(8):
                pixels = rng.integers(0, 5, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / f"{k}.png")
    monkeypatch.setattr(segmentation, "STEPS", {"tiny": 2})
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "runs"), "--seeds", "0"]
    segmentation.main(words)
    found = rows(capsys)
    assert any(line.startswith("tiny, 2 steps, miou: 0.") for line in found)
    segmentation.main(words)
    assert rows(capsys) == found
