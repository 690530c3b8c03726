"""The mean cycle that is taken off a series, and the linear map beside a network."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import registry
from mamba_timeseries import Forecaster
from mamba_timeseries.forecast.baselines import fit_ridge
from mamba_timeseries.forecast.candidates import begin
from mamba_timeseries.forecast.config import ForecastData
from mamba_timeseries.forecast.data import ForecastDataset, WindowSplit
from mamba_timeseries.forecast.fit import batch_of, run
from mamba_timeseries.forecast.protocol import Windows
from mamba_timeseries.forecast.scale import SeriesScale, fit_profile, phase_of

WAVE = np.array([0.0, 2.0, 1.0, -1.0, -2.0])


@given(
    steps=st.integers(1, 60),
    phase=st.integers(-100, 100),
    cycle=st.sampled_from([0, 1, 2, 5, 7]),
    columns=st.sampled_from([None, 3]),
)
@settings(max_examples=40, deadline=None)
def test_what_is_taken_off_is_put_back(steps, phase, cycle, columns):
    rng = np.random.default_rng(steps)
    scale = SeriesScale.fit(rng.normal(3, 2, 80), 0, cycle)
    values = rng.normal(size=steps if columns is None else (steps, columns))
    np.testing.assert_allclose(scale.invert(scale.apply(values, phase), phase), values, atol=1e-12)


@pytest.mark.parametrize("phase", [0, 3, -2, 1001])
def test_a_cycle_on_a_trend_is_found_whatever_its_phase(phase):
    steps = np.arange(200)
    values = WAVE[(phase + steps) % 5] + 0.1 * steps
    np.testing.assert_allclose(fit_profile(values, phase, 5), WAVE, atol=1e-9)
    values[::7] = np.nan
    np.testing.assert_allclose(fit_profile(values, phase, 5), WAVE, atol=0.2)


def test_too_short_a_series_has_no_cycle():
    assert not fit_profile(np.tile(WAVE, 3), 0, 5).any()
    assert fit_profile(np.tile(WAVE, 30), 0, 0).size == 0
    scale = SeriesScale.fit(np.full(9, np.nan), 0, 5)
    assert np.isfinite(scale.apply(np.ones(3), 0)).all()


@pytest.mark.parametrize("freq", ["h", "15min", "D", "B", "W", "MS", "QS"])
@pytest.mark.parametrize("start", ["1969-03-01 05:00", "2020-01-06 05:00"])
def test_phases_count_steps(freq, start):
    offset = pd.tseries.frequencies.to_offset(freq)
    times = pd.date_range(start, periods=9, freq=offset)
    phases = [phase_of(t, offset) for t in times]
    assert np.diff(phases).tolist() == [1] * 8


def test_phases_of_whole_numbers_and_zones():
    assert [phase_of(t, 3) for t in (0, 3, 9)] == [0, 1, 3]
    hour = pd.tseries.frequencies.to_offset("h")
    zoned = pd.Timestamp("2024-01-01 12:00", tz="Europe/Rome")
    assert phase_of(zoned, hour) == phase_of(pd.Timestamp("2024-01-01 11:00"), hour)


def table(steps=400, start="2024-01-01"):
    times = pd.date_range(start, periods=steps, freq="h")
    rng = np.random.default_rng(0)
    rows = []
    for name, level in (("a", 5.0), ("b", -40.0)):
        profile = np.random.default_rng(len(rows)).normal(size=24)
        y = level + 3 * profile[times.hour] + 0.05 * rng.normal(size=steps)
        rows.append(pd.DataFrame({"unique_id": name, "ds": times, "y": y}))
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize("model", ["ridge", "s_mamba_residual"])
def test_a_forecaster_that_knows_the_cycle_needs_little_past(model):
    df = table()
    cut = df.groupby("unique_id").head(360)
    rest = df.groupby("unique_id").tail(40).groupby("unique_id").head(12)
    options = {"h": 12, "input_size": 6, "quantiles": (), "train": {"max_steps": 4}}
    found = Forecaster(model, fields={"cycle": 24}, **options).fit(cut).predict()
    errors = (found["yhat"].to_numpy() - rest["y"].to_numpy()).reshape(2, -1)
    assert np.abs(errors).max() < 0.8
    # another table, begun at another hour: the cycle is where it was
    later = df[df["ds"] >= "2024-01-03 07:00"].groupby("unique_id").head(310)
    again = Forecaster(model, fields={"cycle": 24}, **options).fit(cut).predict(later)
    wanted = df[df["ds"].isin(again["ds"])]["y"].to_numpy()
    assert np.abs(again["yhat"].to_numpy() - wanted).max() < 0.8


def test_a_stream_knows_the_cycle():
    df = table(240)
    cut = df.groupby("unique_id").head(200)
    one = Forecaster(
        "patch_decoder", h=4, input_size=32, fields={"cycle": 24}, train={"max_steps": 3}
    ).fit(cut)
    assert one.streams
    rest = df.groupby("unique_id").tail(40)
    halves = [rest.groupby("unique_id").head(17), rest.groupby("unique_id").tail(23)]
    whole = Forecaster(
        "patch_decoder", h=4, input_size=32, fields={"cycle": 24}, train={"max_steps": 3}
    ).fit(cut)
    stepped = one.update(halves[0]).update(halves[1]).predict()
    at_once = whole.update(rest).predict()
    np.testing.assert_allclose(stepped["yhat"], at_once["yhat"], atol=1e-5)


def dataset(tmp_path, **fields):
    path = tmp_path / "data.csv"
    table().to_csv(path, index=False)
    config = registry.config(
        "ts-forecast", preset="s_mamba_residual", h=6, input_size=12, channels=2, **fields
    )
    return ForecastDataset(ForecastData(path=path), config), config


@pytest.mark.parametrize("quantiles", [(), (0.1, 0.5, 0.9)])
def test_training_begins_at_the_ridge_solution(tmp_path, quantiles):
    data, config = dataset(tmp_path, quantiles=quantiles)
    model = registry.build("ts-forecast", config=config)
    data.prepare(model)
    panel = data.panels[0]
    ends = panel.ends
    values = panel.values.astype(float)
    train, val = values[: ends[0]], values[ends[0] - 12 : ends[1]]
    ridge = fit_ridge([Windows(train, 12, 6)], [Windows(val, 12, 6)])
    batch = batch_of(WindowSplit(data.panels, config, 2), [0, 1, 2])
    forecast = run(model.eval(), batch)["forecast"].double()
    window = batch["past"].double()
    expected = torch.from_numpy(ridge(window.numpy()) - ridge.weights[-1][None, :, None])
    torch.testing.assert_close(forecast, expected, rtol=1e-3, atol=1e-3)


def test_the_map_carries_on_what_was_not_observed(tmp_path):
    data, config = dataset(tmp_path)
    model = registry.build("ts-forecast", config=config)
    data.prepare(model)
    batch = batch_of(WindowSplit(data.panels, config, 2), [0, 1])
    batch["observed"][:, -2:] = False
    poisoned = {**batch, "past": torch.where(batch["observed"], batch["past"], 1e3)}
    same = run(model.eval(), batch)["forecast"]
    torch.testing.assert_close(run(model, poisoned)["forecast"], same)


def test_a_model_without_the_map_says_so():
    model = registry.build("ts-forecast", preset="tiny")
    begin(model, [])
    with pytest.raises(TypeError, match="linear=True"):
        model.begin_linear(torch.zeros(24, 8))
    with pytest.raises(Exception, match="not linear itself"):
        registry.config("ts-forecast", preset="dlinear", linear=True)
