"""A fitted forecaster in a folder forecasts the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mamba_timeseries import Forecaster

FAST = {"h": 4, "input_size": 24, "train": {"max_steps": 2}}


def table(steps=120, zone=None, freq="h"):
    times = pd.date_range("2024-01-01", periods=steps, freq=freq, tz=zone)
    rng = np.random.default_rng(0)
    parts = []
    for name in ("b", "a"):
        y = np.sin(np.arange(steps) / 4) + 0.1 * rng.normal(size=steps)
        parts.append(
            pd.DataFrame({"unique_id": name, "ds": times, "y": y, "p": rng.normal(size=steps)})
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    "model", ["repeat", "seasonal", "window_mean", "ridge", "patch_decoder", "s_mamba_residual"]
)
@pytest.mark.parametrize(("zone", "freq"), [(None, "h"), ("Europe/Rome", "h"), (None, "MS")])
def test_it_forecasts_the_same(tmp_path, model, zone, freq):
    df = table(zone=zone, freq=freq)
    one = Forecaster(model, season=12, fields={"cycle": 6}, **FAST).fit(df)
    one.save(tmp_path / "kept")
    again = Forecaster.load(tmp_path / "kept")
    pd.testing.assert_frame_equal(again.predict(), one.predict(), rtol=0, atol=0)
    later = df.groupby("unique_id").head(60)
    pd.testing.assert_frame_equal(again.predict(later), one.predict(later), rtol=0, atol=0)
    assert again.report == one.report
    again.save(tmp_path / "kept")  # a forecaster's folder is replaced
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept"]


def test_a_stream_goes_on(tmp_path):
    df = table()
    one = Forecaster("patch_decoder", **FAST).fit(df.groupby("unique_id").head(100))
    one.update(df.groupby("unique_id").nth(list(range(100, 107))))
    one.save(tmp_path / "kept")
    again = Forecaster.load(tmp_path / "kept")
    assert again.streams
    rest = df.groupby("unique_id").nth(list(range(107, 120)))
    np.testing.assert_allclose(
        again.update(rest).predict()["yhat"], one.update(rest).predict()["yhat"], atol=1e-5
    )


def test_known_columns_polars_and_whole_numbers(tmp_path):
    df = table()
    one = Forecaster("s_mamba", known=("p",), **FAST).fit(df.assign(p=np.tile(np.arange(120.0), 2)))
    future = one.predict(futr_df=_future(df))
    one.save(tmp_path / "known")
    pd.testing.assert_frame_equal(
        Forecaster.load(tmp_path / "known").predict(futr_df=_future(df)), future, rtol=0, atol=0
    )
    pl = pytest.importorskip("polars")
    numbered = pl.DataFrame({"unique_id": ["a"] * 90, "ds": list(range(90)), "y": np.arange(90.0)})
    two = Forecaster("ridge", **FAST).fit(numbered)
    two.save(tmp_path / "numbered")
    assert Forecaster.load(tmp_path / "numbered").predict().equals(two.predict())


def _future(df):
    times = pd.date_range(df["ds"].max(), periods=5, freq="h")[1:]
    names = np.repeat(["a", "b"], 4)
    return pd.DataFrame(
        {"unique_id": names, "ds": np.tile(times, 2), "p": np.tile(np.arange(120.0, 124), 2)}
    )


def test_what_cannot_be_kept_or_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="fit first"):
        Forecaster("ridge", h=2).save(tmp_path / "kept")
    with pytest.raises(FileNotFoundError, match=r"Forecaster\.save"):
        Forecaster.load(tmp_path)
    (tmp_path / "mine").mkdir()
    fitted = Forecaster("ridge", **FAST).fit(table())
    with pytest.raises(FileExistsError, match="holds no forecaster"):
        fitted.save(tmp_path / "mine")
    fitted.save(tmp_path / "kept")
    path = tmp_path / "kept" / "forecaster.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="update mamba-timeseries"):
        Forecaster.load(tmp_path / "kept")
