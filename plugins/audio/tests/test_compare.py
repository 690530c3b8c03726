"""Several trainings beside each other: who belongs together, what is said of them."""

from __future__ import annotations

import csv
import json
import statistics
import sys

import pytest

from mamba_audio.separation import compare as program
from mamba_audio.separation.compare import compare, notes, summary, verdict
from mamba_audio.separation.runs import by_system, read_run
from mamba_core import registry
from mamba_core.pretrained import save_pretrained

TRAIN = {"max_steps": 100, "lr": 1e-3, "workers": 0}


@pytest.fixture
def make(tmp_path):
    """Return what makes a results folder as a training leaves it."""

    def run(name, *, seed=0, steps=100, train=None, **fields):
        model = registry.build("audio-sep", preset="tiny", **fields)
        folder = tmp_path / name
        save_pretrained(model, folder / "best")
        described = {
            "task": "audio-sep@1",
            "preset": "tiny",
            "model": json.loads((folder / "best" / "config.json").read_text())["config"],
            "data": {"root": str(folder), "train": {"items": 10}},
            "train": TRAIN | {"seed": seed} | (train or {}),
        }
        (folder / "config.json").write_text(json.dumps(described))
        with (folder / "metrics.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["step", "train_loss"], [50, 1.0], [steps, 0.5]])
        return read_run(folder)

    return run


def _scores(value, **groups):
    names = ("si_snri", "median", "p10", "worst", "share_below_0db")
    return dict.fromkeys(names, value) | {"items": 5, "sdri": None, "groups": groups}


def test_runs_of_one_network_belong_together(make):
    runs = [
        make("b", seed=1),
        make("a", seed=0, train={"workers": 2}),
        make("c", causal=True, network={"depth": 3}),
    ]
    groups = by_system(runs)
    assert {name: [run.seed for run in group] for name, group in groups.items()} == {
        "tiny": [0, 1],
        "tiny network.depth=3 causal=True": [0],
    }


def test_what_is_no_spread_over_seeds_is_refused(make):
    with pytest.raises(ValueError, match=r"seeds \[4, 4\], each must be there once"):
        by_system([make("a", seed=4), make("b", seed=4)])
    with pytest.raises(ValueError, match=r"different train\.lr: compare runs"):
        by_system([make("c"), make("d", seed=1, train={"lr": 1e-2})])


def test_a_reader_is_told_what_was_not_equal(make):
    runs = [
        make("a", steps=70),
        make("b", causal=True, seed=0, train={"max_steps": 300}, steps=300),
    ]
    first, second, third = notes(runs)
    assert first == "a stopped after 70 of 100 steps."
    assert second == "Not trained alike: train.max_steps is 100 (tiny), 300 (tiny causal=True)."
    assert "Fewer than three seeds" in third
    assert notes([make(f"s{seed}", seed=seed) for seed in range(3)]) == []


def test_other_folders_are_named(tmp_path, make):
    with pytest.raises(ValueError, match="is no results folder of audio-sep"):
        read_run(tmp_path)
    run = make("a")
    (run.folder / "best" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no model yet"):
        read_run(run.folder)


def test_mean_and_deviation_over_seeds():
    found = summary([_scores(v, mixed=v + 1) for v in (1.0, 2.0, 6.0)])
    assert found["si_snri"].mean == 3.0
    assert found["si_snri"].std == pytest.approx(statistics.stdev([1, 2, 6]))
    assert found["group mixed"].values == (2.0, 3.0, 7.0)
    assert "sdri" not in found
    assert summary([_scores(1.0)])["p10"].std is None


@pytest.mark.parametrize(
    ("mean", "share", "word"),
    [
        (3.8, 0.11, "preview"),
        (6.0, 0.05, "preview"),
        (6.0, 0.049, "trained"),
        (13.1, 0.0, "audit first"),
    ],
)
def test_what_a_checkpoint_may_be_called(mean, share, word):
    scores = _scores(mean) | {"share_below_0db": share}
    assert verdict(summary([scores, scores])) == word


def test_the_same_weights_are_measured_once(make):
    runs, asked, kept = [make("a"), make("b", seed=1)], [], []

    def measure(folder):
        asked.append(folder)
        return _scores(float(len(asked)))

    first = compare(runs, measure, keep=lambda rows: kept.append(len(rows)))
    assert asked == [str(run.folder / "best") for run in runs]
    assert kept == [1, 2]
    assert compare(runs, measure, known=first) == first
    assert len(asked) == 2
    save_pretrained(registry.build("audio-sep", preset="tiny"), runs[1].folder / "best")
    again = compare(runs, measure, known=first)
    assert asked[2:] == [str(runs[1].folder / "best")]
    assert again[1]["scores"]["si_snri"] == 3.0


def test_the_program_writes_both_files(make, tmp_path, monkeypatch, capsys):
    runs = [make("a"), make("b", seed=1), make("c", causal=True)]
    shares = iter([0.25, 0.75, 0.5, 0.0])
    monkeypatch.setattr(program, "libri8k", lambda root: None)
    monkeypatch.setattr(program, "speaker_pitch", lambda path: {})
    monkeypatch.setattr(
        program, "measure_with", lambda *a, **k: lambda name: _scores(next(shares), mixed=-1e-9)
    )
    words = [*(run.folder for run in runs), "--root", tmp_path, "--out", tmp_path / "out"]
    words += ["--beside", "mixture", "--seconds", "--no-sdr"]
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, words)])
    program.main()
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    lines = [line.split(" | ") for line in text.splitlines()]
    tiny = next(line for line in lines if line[:2] == ["| tiny", "0, 1"])
    assert tiny[2:4] == ["100", "0.50 ± 0.35"]
    assert tiny[7] == "50.0 ± 35.4 %"
    assert tiny[-1] == "preview |"
    assert "-0.00" not in text
    assert any(line[:2] == ["| tiny causal=True", "20,984"] for line in lines)
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [row["seed"] for row in report["runs"]] == [0, 1, 0]
    assert report["systems"]["tiny"]["scores"]["p10"]["values"] == [0.25, 0.75]
    assert str(tmp_path) not in json.dumps(report)
