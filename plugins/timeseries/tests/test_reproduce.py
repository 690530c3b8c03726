"""The programs behind the cards' tables, on made-up sets."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

import mamba_core
from mamba_timeseries.anomaly import reproduce as anomalies
from mamba_timeseries.classify import reproduce as classes
from mamba_timeseries.forecast import reproduce, reproduce_quantiles, speed
from mamba_timeseries.forecast.protocol import StandardSet, borders, errors
from mamba_timeseries.impute import reproduce as gaps


@pytest.fixture
def waves(monkeypatch):
    """A set with a daily cycle, small horizons, two training steps."""
    rng = np.random.default_rng(0)
    steps = np.arange(600)[:, None]
    values = np.sin(6.2832 * steps / 24 + np.arange(3)) + 0.1 * rng.normal(size=(600, 3))
    data = StandardSet(values, borders(600))
    monkeypatch.setattr(reproduce, "load_standard", lambda name, folder: data)
    monkeypatch.setattr(reproduce, "HORIZONS", {"ETTh1": (4, 6)})
    monkeypatch.setattr(reproduce, "LOOK_BACK", {"ETTh1": 24})
    short = {"max_steps": 2, "lr": 1e-3, "ema": None}
    monkeypatch.setattr(reproduce, "TRAIN", {})
    monkeypatch.setattr(reproduce, "DEFAULT", short)
    return data


def test_the_cycle_is_off_and_errors_stay_in_the_same_units(waves):
    panel = reproduce.panel_of(waves, 24)
    assert panel.values.std() < 0.3  # the waves are gone, the noise is left
    back = panel.invert(panel.values.astype(float))
    np.testing.assert_allclose(back, waves.values, atol=1e-5)
    closed = reproduce.closed_form(waves, "ETTh1", size=24, h=4)
    assert closed["ridge, centred, cycle off"].mse < closed["seasonal (24)"].mse
    windows = waves.windows("test", input_size=24, h=4)
    assert closed["repeat"].mse == errors(reproduce.Repeat(4), windows).mse


def test_the_cycle_is_taken_off_where_that_helps(waves):
    assert reproduce.chosen_cycle(waves, "ETTh1", size=6, h=4) == 24
    rng = np.random.default_rng(1)
    walk = StandardSet(rng.normal(size=(600, 3)).cumsum(0), borders(600))
    assert reproduce.chosen_cycle(walk, "ETTh1", size=24, h=4) == 0
    assert reproduce.chosen_cycle(walk, "Exchange", size=24, h=4) == 0


def test_a_table_of_runs_and_none_is_run_twice(waves, tmp_path, capsys, monkeypatch):
    words = ["ETTh1", "--root", ".", "--out", str(tmp_path), "--seeds", "0", "1"]
    words += ["--presets", "s_mamba_residual", "dlinear"]
    reproduce.main(words)
    first = capsys.readouterr().out
    assert first.count("±") == 2 * 2 * 2  # two presets, two horizons, two errors
    assert "ridge, centred, cycle off" in first
    kept = json.loads((tmp_path / "ETTh1_24" / "s_mamba_residual_h4_s0.json").read_text())
    assert kept["steps"] == 2
    assert np.isfinite(kept["mse"])
    monkeypatch.setattr(reproduce, "run", None)  # would fail if it were called
    reproduce.main(words)
    assert capsys.readouterr().out == first


def test_the_errors_of_a_run_are_those_of_all_test_windows(waves):
    ran = reproduce.run(waves, "ETTh1", "s_mamba_residual", size=24, h=4, seed=0)
    again = reproduce.run(waves, "ETTh1", "s_mamba_residual", size=24, h=4, seed=0)
    assert {**ran, "seconds": 0} == {**again, "seconds": 0}
    closed = reproduce.closed_form(waves, "ETTh1", size=24, h=4)["ridge, centred, cycle off"]
    assert ran["mse"] == pytest.approx(closed.mse, rel=0.1)  # two steps away from ridge


@pytest.mark.slow
def test_classes_are_measured_per_set_and_seed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(classes, "STEPS", 12)
    rng = np.random.default_rng(0)
    for part, count in (("TRAIN", 20), ("TEST", 10)):
        lines = ["@problemName waves", "@classLabel true a b", "@data"]
        for k in range(count):
            wave = np.sin(np.arange(20) * (0.3 if k % 2 else 1.2)) + 0.05 * rng.normal(size=20)
            lines.append(",".join(f"{v:.4f}" for v in wave) + (":a" if k % 2 else ":b"))
        path = tmp_path / "Waves" / f"Waves_{part}.ts"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
    words = ["Waves", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "0"]
    classes.main(words)
    assert "| Waves | " in capsys.readouterr().out
    assert (tmp_path / "out" / "Waves_as_is_s0" / "best").is_dir()


@pytest.mark.slow
def test_speed_is_told_drawn_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "LENGTHS", (32,))
    monkeypatch.setattr(speed, "CHANNELS", (3,))
    out, plot = tmp_path / "speed.json", tmp_path / "speed.png"
    speed.main(["--rounds", "1", "--out", str(out), "--plot", str(plot)])
    rows = json.loads(out.read_text())["rows"]
    assert {row["status"] for row in rows} == {"ok"}
    assert plot.stat().st_size > 1000
    assert "update by length" in capsys.readouterr().out


def test_quantiles_are_judged_as_by_hand(waves, tmp_path, capsys, monkeypatch):
    levels = reproduce_quantiles.LEVELS
    quantiles = np.broadcast_to(np.array(levels), (2, 3, 1, 9)).copy()
    target = np.array([0.05, 0.5, 0.95, 0.2, 0.3, 1.1]).reshape(2, 3, 1)
    found = reproduce_quantiles.judge(quantiles, target)
    by_hand = [
        max(level * (y - level), (level - 1) * (y - level)) for y in target.flat for level in levels
    ]
    assert found["pinball"] == pytest.approx(np.mean(by_hand))
    assert found["coverage"] == pytest.approx(3 / 6)
    monkeypatch.setattr(reproduce_quantiles, "load_standard", lambda name, folder: waves)
    monkeypatch.setattr(reproduce_quantiles, "H", 4)
    monkeypatch.setattr(reproduce_quantiles, "SIZE", 24)
    words = ["--root", ".", "--out", str(tmp_path), "--seeds", "0", "--presets", "s_mamba_residual"]
    reproduce_quantiles.main(words)
    assert capsys.readouterr().out.count("|") == 5 * 5


def test_the_same_hour_of_the_days_around(tmp_path):
    values = torch.arange(72.0)[None, :, None].repeat(1, 1, 2)
    seen = torch.ones_like(values, dtype=torch.bool)
    seen[0, 30] = seen[0, 54, 0] = False
    values[~seen] = 7e7  # must not be read
    filled = gaps.of_days(values, seen, np.full(values.shape, -1.0))
    assert filled[0, 30].tolist() == [6, 30]  # of one day, of both
    assert filled[0, 10].tolist() == [34, 34]
    seen[:] = False
    assert (gaps.of_days(values, seen, np.full(values.shape, -1.0)) == -1).all()


def ett_like(path):
    steps = np.arange(14_400)
    rng = np.random.default_rng(0)
    wide = {
        str(c): np.sin(steps * 6.2832 / 24 + c) + 0.1 * rng.normal(size=14_400) for c in range(7)
    }
    times = pd.date_range("2020-01-01", periods=14_400, freq="h")
    pd.DataFrame({"date": times, **wide}).to_csv(path / "ETTh1.csv", index=False)


@pytest.mark.slow
def test_gaps_are_filled_beside_what_learns_nothing(tmp_path, capsys, monkeypatch):
    pytest.importorskip("lightning")
    ett_like(tmp_path)
    monkeypatch.setattr(gaps, "CASES", ((0.25, 4.0),))
    monkeypatch.setattr(gaps, "TRAIN", {"max_steps": 1, "batch_size": 2})
    gaps.main(["--root", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "0"])
    out = capsys.readouterr().out
    assert all(f"| {name} |" in out for name in ("straight line", "days around", "`ts-impute`"))
    found = gaps.baselines(tmp_path, 0.25, 4.0)
    assert found["days around"]["mse"] < 0.2 < found["window mean"]["mse"]
    evaluated = mamba_core.evaluate(tmp_path / "out" / "hidden0.25_gap4_s0", batch_size=32)
    assert evaluated.metrics["line_mse"] == pytest.approx(found["straight line"]["mse"], rel=1e-4)


def test_anomalies_are_where_they_are_said_to_be():
    for kind in anomalies.KINDS:
        case = anomalies.made_up(kind)
        assert not case.labels[: case.training].any()
        assert case.labels.sum() == (1 if kind == "spike" else 12) * 20
        perfect = anomalies.judge(case, case.labels + 0.0)
        assert perfect == pytest.approx({"auroc": 1, "precision": 1, "found": 1})
        chance = anomalies.judge(case, np.random.default_rng(0).random(len(case.y)))
        assert chance["auroc"] == pytest.approx(0.5, abs=0.15)
    spikes = anomalies.made_up("spike")
    assert anomalies.judge(spikes, anomalies.jumps(spikes.y))["auroc"] > 0.95


def test_stretches_are_held_against_the_training_part():
    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    windows = np.lib.stride_tricks.sliding_window_view(y, 8)
    windows = windows - windows.mean(1, keepdims=True)
    least = [min(np.linalg.norm(w - k) for k in windows[:23]) for w in windows]
    expected = [np.mean(least[max(i - 7, 0) : i + 1]) for i in range(60)]
    np.testing.assert_allclose(anomalies.nearest(y, 30, 8), expected, atol=1e-6)
    step = np.array([0.0, 0, 0, 5, 0, 0])
    assert anomalies.jumps(step).argmax() == anomalies.from_median(step, 3).argmax() == 3


@pytest.mark.slow
def test_anomalies_are_told_per_kind(tmp_path, capsys, monkeypatch):
    pytest.importorskip("lightning")
    rows = pd.DataFrame({"value": np.sin(np.arange(2000) / 8), "is_anomaly": 0})
    rows.loc[1500:1510, ["value", "is_anomaly"]] = 1
    rows.to_csv(tmp_path / anomalies.REAL, index=False)
    monkeypatch.setattr(anomalies, "KINDS", ())
    monkeypatch.setattr(anomalies, "TRAIN", {"max_steps": 1, "batch_size": 2})
    words = ["--root", str(tmp_path), "--out", str(tmp_path / "out"), "--seeds", "0", "1"]
    anomalies.main(words)
    out = capsys.readouterr().out
    assert "| scored by | InternalBleeding16 |" in out
    assert out.count("found") == 4
    assert out.count("±") == 2
