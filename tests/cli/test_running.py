"""What ``train``, ``eval`` and ``predict`` hand to the functions they stand for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import mamba_core
from mamba_core.cli import main


@pytest.fixture
def calls(monkeypatch):
    """Stand-ins for the three functions, and what each was called with."""
    seen = {}

    def train(task, **given):
        seen["train"] = (task, given)
        return SimpleNamespace(score=0.75, folder=given["out"])

    def evaluate(target, **given):
        seen["evaluate"] = (target, given)
        return SimpleNamespace(metrics={"accuracy": 0.5})

    def predict(target, inputs, out, **given):
        seen["predict"] = (target, inputs, out, given)
        return [{"file": Path("a.wav"), "outputs": [Path("a/1.wav")], "score": 0.123456}]

    for function in (train, evaluate, predict):
        # not setattr: it would look the old one up, which imports the trainer
        monkeypatch.setitem(vars(mamba_core), function.__name__, function)
    return seen


def call(capsys, *words):
    with pytest.raises(SystemExit) as leaving:
        main(words)
    captured = capsys.readouterr()
    assert not leaving.value.code, captured.err
    return captured.out


def test_train(capsys, toy, calls):
    out = call(
        capsys, "train", toy, "--model.inner.size", "3", "--data.root", "7", "--preset", "tiny"
    )
    task, given = calls["train"]
    assert task == toy
    assert given == {
        "preset": "tiny",
        "out": Path("runs/acme-toy-cls"),
        "resume": False,
        "model": {"inner": {"size": 3}},
        "data": {"root": "7"},
    }
    assert "0.75" in out


def test_eval(capsys, toy, calls):
    out = call(capsys, "eval", toy, "--split", "val", "--data.root", "here")
    target, given = calls["evaluate"]
    assert target == toy
    assert given == {
        "split": "val",
        "data": {"root": "here"},
        "weights": "default",
        "device": None,
        "batch_size": 1,
        "progress": None,  # no terminal here
    }
    assert out.splitlines()[1].split() == ["accuracy", "0.5"]


def test_eval_of_a_saved_model(capsys, toy, calls, tmp_path):
    folder = mamba_core.save_pretrained(mamba_core.registry.build(toy), tmp_path / "m")
    call(capsys, "eval", str(folder), "--data.root", "here", "--device", "cpu")
    target, given = calls["evaluate"]
    assert target == str(folder)
    assert given["device"] == "cpu"


def test_predict(capsys, toy, calls):
    words = ["predict", toy, "a.wav", "b.wav", "-o", "there", "--overwrite", "--device", "cpu"]
    out = call(capsys, *words)
    target, inputs, folder, given = calls["predict"]
    assert (target, inputs, folder) == (toy, [Path("a.wav"), Path("b.wav")], Path("there"))
    assert given["overwrite"] is True
    assert given["device"] == "cpu"
    assert out == "file: a.wav  outputs: a/1.wav  score: 0.1235\n"
    rows = json.loads(call(capsys, *words, "--json"))
    assert rows[0]["outputs"] == ["a/1.wav"]


def test_predict_counts_the_files_that_failed(capsys, toy, calls, monkeypatch):
    rows = [{"file": "a.wav"}, {"file": "b.wav", "error": "no sound"}]
    monkeypatch.setitem(vars(mamba_core), "predict", lambda *a, **k: rows)
    with pytest.raises(SystemExit) as leaving:
        main(["predict", toy, "a.wav", "b.wav", "-o", "there"])
    assert leaving.value.code == 1
    captured = capsys.readouterr()
    assert captured.out.endswith("file: b.wav  error: no sound\n")
    assert captured.err == "1 of 2 files could not be used\n"
