"""From a csv file to forecasts, by the commands a user types."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mamba_core.cli import main

pytest.importorskip("lightning")


def _run(*arguments):
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert done.value.code == 0


@pytest.mark.slow
def test_train_evaluate_predict(tmp_path, capsys):
    steps = 400
    y = 50 + 9 * np.sin(np.arange(steps) * 2 * np.pi / 12)
    times = pd.date_range("2024-01-01", periods=steps, freq="h")
    pd.DataFrame({"unique_id": "a", "ds": times, "y": y}).to_csv(tmp_path / "a.csv", index=False)
    _run(
        "train", "ts-forecast", "--preset", "tiny", "--data.path", tmp_path / "a.csv",
        "--model.h", 6, "--train.max_steps", 120, "--train.lr", 0.01, "--train.warmup_steps", 10,
        "--train.ema", "none", "--train.val_every", 120, "--train.device", "cpu",
        "--out", tmp_path / "run",
    )  # fmt: skip
    measured = []
    for size in (1, 7, 512):
        capsys.readouterr()
        _run("eval", tmp_path / "run", "--batch-size", size, "--json")
        measured.append(json.loads(capsys.readouterr().out)["metrics"])
    assert measured[0]["mse"] < 0.2  # the wave's own variance is 1
    for other in measured[1:]:
        assert other["mse"] == pytest.approx(measured[0]["mse"], abs=1e-6)
        assert other["mae"] == pytest.approx(measured[0]["mae"], abs=1e-6)
    _run("predict", tmp_path / "run", tmp_path / "a.csv", "--out", tmp_path / "out")
    out = pd.read_csv(tmp_path / "out" / "a_forecast.csv")
    truth = 50 + 9 * np.sin(np.arange(steps, steps + 6) * 2 * np.pi / 12)
    assert np.abs(out["yhat"] - truth).max() < 9
