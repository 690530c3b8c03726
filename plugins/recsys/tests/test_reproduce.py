"""The program behind the card's tables, on made-up chains: what runs, goes on and is printed."""

from __future__ import annotations

import dataclasses
import json

import pytest

from mamba_recsys import reproduce
from mamba_recsys.synthetic import Synthetic


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A set of made-up chains under the name of a real one."""
    made = Synthetic(users=30, items=24, shortest=6, longest=10)
    events = made.events()
    events.to_csv(tmp_path / "a.csv", index=False)
    benchmark = dataclasses.replace(
        reproduce.SETS["ml-100k"],
        file="a.csv",
        items=events["item_id"].nunique(),
        train={"max_steps": 4, "batch_size": 8, "val_every": 2},
    )
    monkeypatch.setitem(reproduce.SETS, "ml-100k", benchmark)
    words = ["ml-100k", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "0"]
    return [*words, "--baselines", "markov-1"], tmp_path / "out" / "ml-100k"


@pytest.mark.slow
def test_rows_of_models_and_what_counts(small, capsys):
    pytest.importorskip("lightning")
    words, folder = small
    reproduce.main([*words, "--models", "mamba4rec", "sigma", "sasrec, gbce"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == [
        "markov-1", "mamba4rec", "sigma", "sasrec, gbce",
    ]  # fmt: skip
    found = json.loads((folder / "sasrec-gbce_s0.json").read_text())
    assert found["steps"] == 4
    assert found["seconds"] > 0
    assert 0 <= found["all"]["hr@10"] <= 1


def test_what_is_finished_is_not_run_again(small, capsys):
    words, folder = small
    measures = {"hr@10": 0.25, "ndcg@10": 0.125, "mrr@10": 0.0625, "coverage@10": 0.5}
    folder.mkdir(parents=True)
    row = {"all": measures, "new": measures, "seconds": 3, "steps": 4}
    for name in ("markov-1_s0", "mamba4rec_s0", "mamba4rec_s1"):
        (folder / f"{name}.json").write_text(json.dumps(row))
    reproduce.main([*words, "--models", "mamba4rec"])
    table = capsys.readouterr().out
    assert ".2500 ± .0000 / .1250 ± .0000" in table
    assert table.rstrip().endswith("| 2 |")
    assert "| `markov-1` | .2500 / .1250 / .0625 |" in table


def test_a_set_says_how_its_models_differ_from_the_presets():
    beauty, models = reproduce.SETS["beauty"], reproduce.MODELS
    own = reproduce.model_fields(beauty, models["mamba_prenorm"])
    assert own["network"]["dropout"] == beauty.own_dropout["mamba_prenorm"]
    peer = reproduce.model_fields(beauty, models["sasrec"])
    assert peer["network"]["dropout"] == beauty.dropout
    assert own["temperature"] == peer["temperature"] == beauty.temperature
    assert "temperature" not in reproduce.model_fields(reproduce.SETS["ml-1m"], models["sasrec"])


def test_seconds_add_up_over_pieces(tmp_path):
    path = tmp_path / "a.seconds"
    path.write_text("5")
    with pytest.raises(SystemExit), reproduce.SecondsKept(path):
        raise SystemExit(3)
    assert 5 <= float(path.read_text()) < 6
