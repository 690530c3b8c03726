"""From a text file to a model that writes like it, by the commands a user types."""

from __future__ import annotations

import json

import pytest

from mamba_core.cli import main

pytest.importorskip("lightning")


def _run(*arguments):
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert done.value.code == 0


@pytest.mark.slow
def test_train_evaluate_predict(tmp_path, capsys):
    line = "the quick brown fox jumps over the lazy dog\n"
    (tmp_path / "book.txt").write_text(line * 100)
    (tmp_path / "prompt.txt").write_text(line + "the quick br")
    options = {
        "--preset": "tiny",
        "--data.path": tmp_path / "book.txt",
        "--data.window": 48,
        "--train.max_steps": 80,
        "--train.lr": 0.01,
        "--train.warmup_steps": 10,
        "--train.ema": "none",
        "--train.val_every": 80,
        "--train.device": "cpu",
        "--out": tmp_path / "run",
    }
    _run("train", "language-lm", *(word for pair in options.items() for word in pair))
    capsys.readouterr()
    _run("eval", tmp_path / "run", "--json")
    measured = json.loads(capsys.readouterr().out)["metrics"]
    assert measured["bits_per_byte"] < 1.0  # the line is new at each window's start only
    _run(
        "predict", tmp_path / "run", tmp_path / "prompt.txt", "--out", tmp_path / "out",
        "--predict.greedy", "true", "--predict.max_tokens", 20, "--device", "cpu",
    )  # fmt: skip
    assert (tmp_path / "out" / "prompt.txt").read_text() == "own fox jumps over t"
