"""The programs behind the cards' tables, on made-up sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mamba_timeseries.classify import reproduce as classes
from mamba_timeseries.forecast import reproduce, reproduce_quantiles, speed
from mamba_timeseries.forecast.protocol import StandardSet, borders, errors


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
