"""Forecasts through GluonTS and sktime are those of ``Forecaster``."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mamba_timeseries import Forecaster

STEPS = 80
OPTIONS = {"input_size": 16, "train": {"max_steps": 2}}


def wave(seed):
    rng = np.random.default_rng(seed)
    return np.sin(np.arange(STEPS) / 3) + 0.1 * rng.normal(size=STEPS)


@pytest.mark.parametrize("freq", ["h", "D", "M"])
def test_gluonts(tmp_path, freq):
    pytest.importorskip("gluonts", reason="the extra [gluonts] is not installed")
    from gluonts.evaluation import Evaluator

    from mamba_timeseries.adapters.gluonts import MambaEstimator, MambaPredictor

    start = pd.Period("2024-01-01", freq=freq)
    entries = [{"start": start, "target": wave(k), "item_id": f"s{k}"} for k in (1, 0)]
    entries[0]["target"][5] = np.nan
    predictor = MambaEstimator(4, options=OPTIONS).train(entries)
    found = list(predictor.predict(entries))
    assert [f.item_id for f in found] == ["s1", "s0"]
    assert found[0].start_date == start + STEPS
    assert found[0].quantile(0.1).shape == (4,)
    assert (found[0].quantile(0.9) >= found[0].quantile(0.1)).all()
    (tmp_path / "kept").mkdir()
    predictor.serialize(tmp_path / "kept")
    again = list(MambaPredictor.deserialize(tmp_path / "kept").predict(entries))
    np.testing.assert_array_equal(again[1].mean, found[1].mean)
    truth = [pd.Series(np.append(wave(k), wave(k)[:4])) for k in (1, 0)]
    for series in truth:
        series.index = pd.period_range(start, periods=STEPS + 4, freq=freq)
    scores, _ = Evaluator(num_workers=None)(truth, found)
    assert np.isfinite(scores["MASE"])
    with pytest.raises(ValueError, match="leave it out"):
        MambaEstimator(4).train(entries, entries)


@pytest.mark.parametrize("index", ["period", "time", "number"])
def test_sktime(index):
    pytest.importorskip("sktime", reason="the extra [sktime] is not installed")
    from mamba_timeseries.adapters.sktime import MambaForecaster

    labels = {
        "period": pd.period_range("2020-01", periods=STEPS, freq="M"),
        "time": pd.date_range("2024-01-01", periods=STEPS, freq="D"),
        "number": pd.RangeIndex(STEPS),
    }[index]
    y = pd.Series(wave(0), labels)
    one = MambaForecaster("ridge", {"input_size": 16}).fit(y, fh=[1, 3])
    found = one.predict()
    times = labels.to_timestamp() if index == "period" else labels
    own = Forecaster("ridge", h=3, quantiles=(0.5,), intervals="conformal", input_size=16).fit(
        pd.DataFrame({"unique_id": "a", "ds": times, "y": y.to_numpy()})
    )
    np.testing.assert_allclose(found, own.predict()["yhat"].to_numpy()[[0, 2]])
    band = one.predict_interval(coverage=0.8)
    assert (band.iloc[:, 0] <= band.iloc[:, 1]).all()
    more = pd.Series([0.0], [labels[-1] + (labels[1] - labels[0])])
    if index == "time":
        more.index = pd.DatetimeIndex(more.index, freq="D")
    if index == "period":
        more.index = pd.PeriodIndex(more.index, freq="M")
    assert one.update(more, update_params=False).predict().index[0] != found.index[0]
    assert MambaForecaster("ridge").clone().get_params()["model"] == "ridge"
