"""The benchmark: what it checks, prints and draws; not how fast anything is."""

from __future__ import annotations

import json

import pytest
import torch

from mamba_recsys import benchmark
from mamba_recsys.service.load import load


@pytest.mark.slow
def test_lines_and_picture(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(benchmark, "TOKENS", 60)
    words = ["--items", "50", "--lengths", "5", "9", "--presets", "mamba4rec", "sasrec"]
    benchmark.main([*words, "--plot", str(tmp_path / "a.svg")])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [(row["what"], row["preset"]) for row in rows]
    assert kinds.count(("training", "mamba4rec")) == kinds.count(("serving", "sasrec")) == 2
    assert kinds.count(("many users", "mamba4rec")) == 1
    sizes = {row["length"]: row["state_kib"] for row in rows if row["what"] == "serving"}
    assert set(sizes) == {5, 9}
    assert "svg" in (tmp_path / "a.svg").read_text()[:300]


def test_states_that_differ_are_not_timed(monkeypatch):
    real = benchmark.NextItemModel.read

    def wrong(self, *args, **kwargs):
        state = real(self, *args, **kwargs)
        return type(state)({**state.tensors, "hidden": state.tensors["hidden"] + 1}, state.children)

    monkeypatch.setattr(benchmark.NextItemModel, "read", wrong)
    with pytest.raises(AssertionError, match="states differ"):
        benchmark.serving("mamba4rec", 5, items=50)


def test_states_agree():
    torch.manual_seed(0)
    for preset in ("mamba4rec", "sasrec"):
        model = benchmark.build(preset, 50, 30).eval()
        assert benchmark.check(model, 50, 30) < benchmark.TOLERANCE


@pytest.mark.slow
def test_the_service_under_load():
    pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")
    row = load("mamba4rec", 5, items=50, requests=6)
    assert row["length"] == 5
    assert 0 < row["event_p50_ms"] <= row["event_p99_ms"]
    assert 0 < row["top10_p50_ms"] <= row["top10_p99_ms"]


def test_memory_is_that_of_the_call():
    found = benchmark.added_memory(lambda: torch.ones(100 * 2**18).sum())
    if found is None:
        pytest.skip("no Linux with glibc to ask")
    # the kernel counts pages by the batch on every core: the figure is a little off either way
    assert 90 * 2**20 <= found < 120 * 2**20
