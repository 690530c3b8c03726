"""The ablation example, on a few made-up images of the two file formats, and on the real ones."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/scan_order_ablation.py"
SMALL = ["--epochs", "1", "--d-model", "8", "--depth", "1", "--patch", "7", "--batch", "8"]


@pytest.fixture
def ablation(monkeypatch, capsys):
    """Run the example in this process; return what it prints."""
    spec = importlib.util.spec_from_file_location("scan_order_ablation", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)

    def run(*words):
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *map(str, words)])
        module.main()
        return capsys.readouterr().out

    run.module = module
    return run


def write_images(folder):
    """20 pictures to learn from and 10 to test, each class brighter than the one before."""
    from PIL import Image

    labels = {"train": np.arange(20) % 10, "test": np.arange(10)}
    arrays = {}
    with tarfile.open(folder / "cifar10_ci2500.tar.xz", "w:xz") as archive:
        for part, classes in labels.items():
            grey = np.broadcast_to(25 * classes[:, None, None], (len(classes), 28, 28))
            arrays |= {f"x_{part}": grey.astype(np.uint8), f"y_{part}": classes.astype(np.uint8)}
            for number, label in enumerate(classes):
                data = io.BytesIO()
                picture = np.full((32, 32, 3), 25 * label, dtype=np.uint8)
                Image.fromarray(picture).save(data, "JPEG", quality=95)
                member = tarfile.TarInfo(f"{part}/class{label}/{number:04}.jpg")
                member.size = data.tell()
                data.seek(0)
                archive.addfile(member, data)
    np.savez(folder / "mnist_ci2500.npz", **arrays)


def test_reads_both_formats_and_writes_a_table(ablation, tmp_path):
    pytest.importorskip("PIL")
    write_images(tmp_path)
    images = ablation.module.read_images("cifar10", tmp_path)
    assert images.train[0].shape == (20, 3, 32, 32)
    assert images.train[1].tolist() == [*range(10), *range(10)]
    assert float(images.test[0][9].mean()) == pytest.approx(225 / 127.5 - 1, abs=0.02)
    out = tmp_path / "runs.json"
    orders = ["raster", "cross", "window(2)"]
    said = ablation(
        "--data", tmp_path, "--orders", *orders, "--seeds", 2, "--out", out, "--limit", 10, *SMALL
    )
    lines = said.splitlines()
    assert lines[0] == "| order | mnist, % correct | cifar10, % correct | s per run |"
    assert [line.split("`")[1] for line in lines[2:]] == orders
    assert all(line.count("(2)") >= 2 for line in lines[2:])
    runs = json.loads(out.read_text())
    assert len(runs) == 12
    assert all(0 <= run["accuracy"] <= 1 for run in runs)


def test_orders_have_the_same_parameters(ablation):
    module = ablation.module
    shapes = [
        {n: p.shape for n, p in module.Classifier(1, order, d_model=8, depth=2, patch=7)
         .named_parameters()}
        for order in module.ORDERS
    ]  # fmt: skip
    assert all(shape == shapes[0] for shape in shapes)


def test_missing_data_is_named(ablation, tmp_path):
    with pytest.raises(SystemExit, match=r"mnist_ci2500\.npz does not exist"):
        ablation("--data", tmp_path)


@pytest.mark.slow
def test_learns_something_from_the_real_images(ablation, shared_data, tmp_path):
    out = tmp_path / "runs.json"
    ablation(
        "--data", shared_data / "vision", "--datasets", "mnist", "--orders", "serpentine",
        "--seeds", 1, "--epochs", 4, "--batch", 25, "--depth", 1, "--out", out,
    )  # fmt: skip
    (run,) = json.loads(out.read_text())
    assert run["accuracy"] > 0.3
