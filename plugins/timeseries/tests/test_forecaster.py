"""From a table to forecasts: shapes, units, names, covariates, streams, backtests."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from mamba_timeseries import Forecaster, FrameError

H = 6
QUICK = {"max_steps": 8, "batch_size": 8, "ema": None, "warmup_steps": 1}


def table(names=("a", "b"), steps=80, seed=0, start="2024-01-01", offset=0):
    rng = np.random.default_rng(seed)
    times = pd.date_range(start, periods=steps, freq="h")
    parts = []
    for k, name in enumerate(names):
        y = 100 * k + 5 * np.sin((np.arange(steps) + offset) * np.pi / 12) + rng.normal(size=steps)
        parts.append(pd.DataFrame({"unique_id": name, "ds": times, "y": y}))
    return pd.concat(parts, ignore_index=True)


def make(model="patch_decoder", **options):
    return Forecaster(model, h=H, input_size=24, train=QUICK, **options)


@pytest.fixture(scope="module")
def fitted():
    return make().fit(table())


@pytest.mark.parametrize("model", ["repeat", "seasonal", "window_mean", "ridge", "dlinear"])
def test_table_of_a_forecast(model):
    data = table()
    out = make(model).fit(data).predict(quantiles=(0.1, 0.5, 0.9))
    assert list(out) == ["unique_id", "ds", "yhat", "q0.1", "q0.5", "q0.9"]
    assert out["unique_id"].tolist() == ["a"] * H + ["b"] * H
    assert out["ds"][0] == data["ds"].max() + pd.Timedelta("1h")
    assert (out[["q0.1", "q0.5", "q0.9"]].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert out["yhat"][H:].between(80, 120).all()  # b lies around 100: original units
    if model == "repeat":
        assert out["yhat"][0] == pytest.approx(data["y"][79])


def test_polars_gets_polars():
    polars = pytest.importorskip("polars")
    out = make("ridge").fit(polars.from_pandas(table())).predict()
    assert isinstance(out, polars.DataFrame)
    assert len(out) == 2 * H


def test_scale_goes_through(fitted):
    data = table()
    moved = data.assign(y=1000 * data["y"] - 7)
    again = make().fit(moved)
    one, other = fitted.predict(), again.predict()
    np.testing.assert_allclose(other["yhat"], 1000 * one["yhat"] - 7, rtol=1e-4)


def test_nothing_is_read_from_the_future():
    data = table()
    late = data["ds"] >= data["ds"].max() - pd.Timedelta(f"{H - 1}h")
    changed = data.assign(y=np.where(late, 1e5, data["y"]))
    one, other = (make("ridge").backtest(d, n_windows=1).forecasts for d in (data, changed))
    pd.testing.assert_frame_equal(one.drop(columns="y"), other.drop(columns="y"))


@pytest.mark.parametrize("model", ["patch_decoder", "s_mamba"])
def test_order_of_rows_and_names_does_not_matter(model):
    data = table()
    mixed = pd.concat([data[data["unique_id"] == n] for n in "ba"])
    pd.testing.assert_frame_equal(make(model).fit(data).predict(), make(model).fit(mixed).predict())


def test_a_series_does_not_see_the_others(fitted):
    data = table()
    alone = fitted.predict(data[data["unique_id"] == "a"])
    both = fitted.predict(data)
    np.testing.assert_allclose(alone["yhat"], both["yhat"][:H], rtol=1e-5)


def test_names_of_series_read_together():
    one = make("s_mamba").fit(table())
    with pytest.raises(FrameError, match="missing 'b'; unknown 'c'"):
        one.predict(table(("a", "c")))
    with pytest.raises(FrameError, match="'b' has the times"):
        make("s_mamba").fit(pd.concat([table(("a",)), table(("b",), steps=79)]))


def test_streaming_equals_reading_it_all(fitted):
    every = table(steps=110)
    old = every[every.groupby("unique_id").cumcount() < 80]
    one = make().fit(old)
    assert one.streams
    for start, stop in ((80, 81), (81, 95), (95, 110)):
        place = every.groupby("unique_id").cumcount()
        one.update(every[(place >= start) & (place < stop)])
    whole = make()
    whole.__dict__ |= {k: v for k, v in one.__dict__.items() if k != "_stream"}
    start = whole.best.model.start(2)
    whole._stream = whole._read(whole._context, start, 80 - 24)
    np.testing.assert_allclose(one.predict()["yhat"], whole.predict()["yhat"], rtol=1e-5)
    assert one.predict()["ds"][0] == every["ds"].max() + pd.Timedelta("1h")


def test_updates_must_follow(fitted):
    with pytest.raises(FrameError, match="'a', 2024-01-04 11:00:00: the next row must be of"):
        make("repeat").fit(table()).update(table(start="2024-01-04 11:00"))
    with pytest.raises(FrameError, match="series 'z' was not fitted"):
        make("repeat").fit(table()).update(table(("z",)))


def test_a_sensor_that_is_silent_for_a_while():
    """New rows without any value are taken in where gaps are masked."""
    silent = table(start="2024-01-04 08:00", steps=2).assign(y=np.nan)
    one = make(fill="mask").fit(table()).update(silent)
    assert one.streams
    assert one.predict()["ds"][0] == pd.Timestamp("2024-01-04 10:00")
    with pytest.raises(FrameError, match=r"'a', 2024-01-04 08:00:00 to .*: no value of y"):
        make().fit(table()).update(silent)


def test_a_backtest_of_constant_series_has_no_scaled_error():
    flat = table().assign(y=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        rows = make("repeat").backtest(flat, n_windows=1).table
    assert rows["mase"].isna().all()
    assert (rows["mae"] == 0).all()


def test_known_columns():
    data = table(steps=90).assign(price=np.tile(np.arange(90.0) % 7, 2))
    past, future = data[data.index % 90 < 80], data[data.index % 90 >= 80]
    one = make("patch_decoder", known=("price",)).fit(past)
    assert not one.streams
    first = one.predict(futr_df=future)
    second = one.predict(futr_df=future.assign(price=future["price"] + 5))
    assert not np.allclose(first["yhat"], second["yhat"])
    with pytest.raises(FrameError, match="futr_df is needed: the next 6 steps of 'price'"):
        one.predict()
    with pytest.raises(FrameError, match="futr_df: series 'a', 2024-01-04 13:00:00 is missing"):
        one.predict(futr_df=future[future.index % 90 < 85])
    with pytest.raises(FrameError, match="no known columns"):
        make("repeat").fit(past).predict(futr_df=future)


def test_static_columns_are_known_everywhere(tmp_path):
    data = table().assign(size=np.repeat([1.0, 2.0], 80))
    one = make("patch_decoder", static=("size",)).fit(data)
    future = table(steps=H, start="2024-01-04 08:00").assign(size=np.repeat([1.0, 2.0], H))
    alone = one.predict()
    pd.testing.assert_frame_equal(alone, one.predict(futr_df=future))
    one.save(tmp_path / "one")
    pd.testing.assert_frame_equal(alone, Forecaster.load(tmp_path / "one").predict())
    data.loc[5, "size"] = 3
    with pytest.raises(FrameError, match=r"'a', 2024-01-01 05:.*'size' changes from 1 to 3"):
        make("patch_decoder", static=("size",)).fit(data)


def test_static_columns_beside_known_ones():
    data = table(steps=90).assign(size=np.repeat([1.0, 2.0], 90), hour=np.tile(np.arange(90.0), 2))
    past, future = data[data["hour"] < 80], data[data["hour"] >= 80].drop(columns="size")
    one = make("dlinear", known=("hour",), static=("size",)).fit(past)
    assert len(one.predict(futr_df=future)) == 2 * H
    with pytest.raises(FrameError, match="futr_df is needed: the next 6 steps of 'hour'"):
        one.predict()


def test_columns_that_were_not_there_are_named():
    data = table().assign(note=1.0)
    one = make("repeat").fit(data)
    one.predict(data)
    with pytest.raises(FrameError, match="the table has the column 'price', which was not there"):
        one.predict(data.assign(price=1.0))
    with pytest.raises(FrameError, match="the table has the column 'price'"):
        one.update(table(start="2024-01-04 08:00", steps=2).assign(price=1.0))
    one = make("repeat", known=("note",)).fit(data)
    future = table(start="2024-01-04 08:00", steps=H).assign(note=1.0)
    one.predict(futr_df=future)
    with pytest.raises(FrameError, match="futr_df has the column 'price'"):
        one.predict(futr_df=future.assign(price=1.0))


def test_another_time_zone_is_named(fitted):
    zoned = table().assign(ds=lambda rows: rows["ds"].dt.tz_localize("UTC"))
    with pytest.raises(FrameError, match=r"'a', 2024-01-01 .*time zone UTC, fitted was None"):
        fitted.predict(zoned)
    with pytest.raises(FrameError, match="time zone UTC, fitted was None"):
        make("repeat").fit(table()).update(zoned)


def test_a_longer_horizon_is_said(fitted):
    with pytest.warns(UserWarning, match="h = 9 is longer than the trained 6"):
        out = fitted.predict(h=9)
    assert len(out) == 18
    assert out.attrs["recursive"]
    np.testing.assert_allclose(out["yhat"][:H], fitted.predict()["yhat"][:H])


def test_a_short_series_takes_part():
    data = pd.concat([table(), table(("s",), steps=12)])
    one = make().fit(data)
    out = one.predict()
    assert set(out["unique_id"]) == {"a", "b", "s"}
    assert np.isfinite(out["yhat"]).all()


def test_another_step_of_time_is_named(fitted):
    days = table().assign(ds=np.tile(pd.date_range("2024-01-01", periods=80, freq="D"), 2))
    for fill in ("error", "mask"):  # fill does not make gaps of another step
        fitted.fill = fill
        with pytest.raises(FrameError, match=r"'a', 2024-01-02 .*its step is 'D', fitted was 'h'"):
            fitted.predict(days)
    fitted.fill = "error"


def test_quantiles_that_were_not_trained(fitted):
    with pytest.raises(ValueError, match=r"not \[0.3\]: train with these, or choose intervals"):
        fitted.predict(quantiles=(0.3,))
    other = make(intervals="conformal").fit(table())
    assert "q0.3" in other.predict(quantiles=(0.3, 0.5))


def test_conformal_intervals_cover():
    rng = np.random.default_rng(0)
    y = rng.normal(size=1200)
    times = pd.date_range("2024-01-01", periods=1200, freq="h")
    data = pd.DataFrame({"unique_id": "a", "ds": times, "y": y})
    result = Forecaster("window_mean", h=5, input_size=20, val_share=0.4).backtest(
        data, n_windows=80, step=5
    )
    row = result.table.set_index("model").loc["window_mean"]
    assert row["coverage"] == pytest.approx(0.8, abs=0.05)


def test_backtest_holds_the_baselines():
    told = []
    result = make("ridge").backtest(
        table(), n_windows=3, step=2, progress=lambda *a: told.append(a)
    )
    assert set(result.table["model"]) == {"ridge", "repeat", "seasonal", "window_mean"}
    assert len(result.forecasts) == 4 * 3 * 2 * H
    assert told[2] == ("ridge", 3, 3)
    one = result.forecasts.query("model == 'repeat'")
    assert (one["ds"] > one["cutoff"]).all()
    row = result.table.set_index("model").loc["repeat"]
    error = one["y"] - one["yhat"]
    assert row["mse"] == pytest.approx((error**2).mean())
    assert row["mae"] == pytest.approx(error.abs().mean())
    inside = (one["y"] >= one["q0.1"]) & (one["y"] <= one["q0.9"])
    assert row["coverage"] == pytest.approx(inside.mean())
    pinball = [
        np.maximum(q * (one["y"] - one[f"q{q:g}"]), (q - 1) * (one["y"] - one[f"q{q:g}"]))
        for q in (0.1, 0.5, 0.9)
    ]
    assert row["pinball"] == pytest.approx(np.mean(pinball))


def test_refit_sees_more():
    still, anew = (
        make("ridge").backtest(table(), n_windows=2, refit=r).forecasts for r in (False, True)
    )
    first = still["cutoff"] == still["cutoff"].min()
    np.testing.assert_array_equal(still["yhat"][first], anew["yhat"][first])
    assert (still["yhat"] != anew["yhat"]).any()


def test_a_backtest_too_long_is_named():
    with pytest.raises(FrameError, match="series 'a' has 80 rows; n_windows = 20"):
        make("ridge").backtest(table(), n_windows=20)


def test_a_backtest_leaves_out_what_the_series_are_too_short_for():
    result = make("patch_decoder", season=36).backtest(table(steps=32), n_windows=1)
    assert set(result.table["model"]) == {"patch_decoder", "repeat", "window_mean"}
    twelve = make("repeat", season=12).backtest(table(), n_windows=1).forecasts
    rows = twelve.query("model == 'seasonal' and unique_id == 'a'")
    np.testing.assert_allclose(rows["yhat"], table()["y"][62:68])  # the season that was asked for


def test_auto_reports_and_may_choose_ridge():
    one = make("auto").fit(table(steps=160))
    assert {"repeat", "seasonal", "window_mean", "ridge", "patch_decoder", "s_mamba"} <= set(
        one.report
    )
    best = min(one.report, key=lambda n: one.report[n]["val_mse"])
    assert one.best.name == best
    assert all(set(row) == {"val_mse", "test_mse"} for row in one.report.values())
    assert f"{one.best.name!r} forecasts (squared error on validation: {one.best.name}" in repr(one)
    short = make("auto").fit(table(steps=30))  # too short for ridge, which is then left out
    assert "ridge" not in short.report


def test_auto_warns_of_a_winner_that_fails():
    steps = 200
    y = np.random.default_rng(0).normal(size=steps)
    y[-H:] += 30  # the level moves in the end: only the last value would follow
    y[-H - 1] = 30
    times = pd.date_range("2024-01-01", periods=steps, freq="h")
    data = pd.DataFrame({"unique_id": "a", "ds": times, "y": y})
    with pytest.warns(UserWarning, match="do not trust it without a backtest"):
        Forecaster("auto", h=H, input_size=12, season=1, train=QUICK).fit(data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("prophet"), "must be one of auto, repeat"),
        (lambda: Forecaster("repeat", h=0), "h = 0 must be a whole number, at least 1"),
        (lambda: make("repeat").predict(), "fit first"),
        (lambda: make("repeat").fit(table()).predict(h=0), "h = 0 must be at least 1"),
        (lambda: Forecaster("repeat", h=2.5), "h = 2.5 must be a whole number"),
        (lambda: Forecaster("repeat", h=2, input_size=1), "input_size = 1 .* at least 2"),
        (lambda: make("repeat", val_share=2), "val_share = 2 must lie between 0 and 1"),
        (lambda: make("repeat", intervals="foo"), "intervals = 'foo' must be one of model, conf"),
        (lambda: Forecaster("repeat", h=2, train={"max_step": 1}), "Did you mean 'max_steps'"),
        (lambda: make("repeat", known=("y",)), "column 'y' is named twice"),
        (lambda: make("repeat").backtest(table(), n_windows=0), "n_windows = 0 must be at least 1"),
        (lambda: make("repeat").backtest(table(), step=0), "step = 0 must be at least 1"),
        (lambda: make("repeat", quantiles=(0.5, 1.2)), "must lie between 0 and 1"),
        (lambda: make("repeat", fill="spline").fit(table()), "must be one of error, ffill"),
        (lambda: make("ridge").fit(table(steps=20)), "'a', 2024-01-01 19.*leave 14 to learn from"),
        (lambda: make("repeat").fit(table(steps=7)), "'a': 7 rows, the longest series"),
        (lambda: make("repeat").fit(pd.concat([table(), table(("s",), steps=1)])), "'s': one row"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("fill", ["mask", "ffill", "linear"])
def test_missing_rows_are_filled_by_the_rule(fill):
    data = table().drop(index=[10, 11, 40])
    for model in ("ridge", "patch_decoder"):
        assert np.isfinite(make(model, fill=fill).fit(data).predict()["yhat"]).all()


def test_one_row_is_enough_to_forecast_from(fitted):
    assert len(fitted.predict(table(steps=1))) == 2 * H


def test_quantiles_rise_however_they_are_asked_for():
    out = make("ridge").fit(table()).predict(quantiles=(0.9, 0.1))
    assert (out["q0.9"] > out["q0.1"]).all()


def test_gaps_are_masked():
    data = table()
    data.loc[[10, 11, 40, 100], "y"] = np.nan
    with pytest.raises(FrameError, match="'a', 2024-01-01 10:00:00: y is missing"):
        make().fit(data)
    for model in ("ridge", "patch_decoder", "repeat"):
        assert np.isfinite(make(model, fill="mask").fit(data).predict()["yhat"]).all()


def test_plot(fitted):
    pytest.importorskip("matplotlib").use("agg")
    later = table(start="2024-01-04 08:00", steps=H)
    figure = fitted.plot(fitted.predict(), truth=later, series=2)
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    known, forecast, came = figure.axes[1].lines
    assert len(known.get_ydata()) == 48
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["forecast", "0.1 to 0.9 (80 %)", "what came"]
    assert figure.axes[1].get_ylabel() == "y"
    assert known.get_ydata()[-1] == table()["y"][159]
    np.testing.assert_array_equal(forecast.get_ydata(), fitted.predict()["yhat"][H:])
    np.testing.assert_array_equal(came.get_ydata(), later["y"][H:])


def test_plot_of_a_backtest():
    pytest.importorskip("matplotlib").use("agg")
    result = make("ridge").backtest(table(), n_windows=3)
    best = result.table["model"][0]
    figure = result.plot(series=1)
    assert [axis.get_title() for axis in figure.axes] == [f"a, {best}"]
    *windows, came = figure.axes[0].lines
    assert len(windows) == 3
    np.testing.assert_array_equal(came.get_ydata(), table()["y"][80 - 3 * H : 80])
    with pytest.raises(ValueError, match="no forecast of 'prophet': ridge, repeat"):
        result.plot("prophet")


def test_forecasts_do_not_depend_on_warnings(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.predict()
