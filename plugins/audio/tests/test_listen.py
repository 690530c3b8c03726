"""The page to listen to: what it plays is there, and what it says is true."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import soundfile as sf

from mamba_audio.separation.benchmark import oracle, trained
from mamba_audio.separation.config import Manifest, SeparationData, SeparatorConfig
from mamba_audio.separation.data import SeparationDataset
from mamba_audio.separation.listen import PICKS, named, pick, write_page

RATE = 8000


@pytest.fixture
def mixtures(tmp_path):
    """Five mixtures of half a second."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(2):
        time = np.arange(2 * RATE) / RATE
        sf.write(tmp_path / f"{k}.flac", 0.1 * np.sin(2 * np.pi * (200 + 700 * k) * time), RATE)
    for number in range(5):
        row = {"id": number, "sha256": ""}
        for k in (1, 2):
            row |= {f"file{k}": f"{k - 1}.flac", f"start{k}": 10 * number}
            row[f"gain{k}"] = rng.uniform(0.2, 1)
        rows.append(row)
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    part = Manifest(file="m.csv", seconds=0.5, check=False)
    data = SeparationData(root=tmp_path, train=part, val=part, test=part)
    return SeparationDataset(data, SeparatorConfig()).test(seed=0)


@pytest.mark.slow
def test_page(mixtures, tiny, tmp_path):
    pytest.importorskip("matplotlib")
    systems = {"ours": trained(tiny), "psm": oracle("psm")}
    items = pick(systems["psm"], mixtures)
    assert set(items) == set(PICKS)
    page = write_page(tmp_path / "page", systems, mixtures, items)
    text = page.read_text()
    linked = re.findall(r'src="([^"]+)"', text)
    assert len(linked) == 4 * 2 * (1 + 2 * 3)  # sound and picture: a mixture, and pairs of voices
    assert {path.name for path in page.parent.iterdir()} == {"index.html", *linked}
    assert sf.info(page.parent / linked[0]).frames == RATE // 2
    assert "CC BY 4.0" in text
    with pytest.raises(FileExistsError):
        write_page(tmp_path / "page", systems, mixtures, items)


def test_systems_have_names():
    assert named(["ours=default", "a/b/run_0"]) == {"ours": "default", "run_0": "a/b/run_0"}
    for words in (["a/run", "b/run"], ["mixture"], ["x=a", "x=b"], ["x!=a", "x?=b"]):
        with pytest.raises(ValueError, match="is taken: each system needs one"):
            named(words)
