"""Tables: what is refused, by series, timestamp and rule; what is filled, and how."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mamba_core import registry
from mamba_timeseries import FrameError
from mamba_timeseries.forecast.config import ForecastData
from mamba_timeseries.forecast.data import ForecastDataset
from mamba_timeseries.frame import Columns, collect, collect_file, to_native
from mamba_timeseries.times import following

DAYS = pd.date_range("2024-03-01", periods=6, freq="D")


def table(y=(1.0, 2, 3, 4, 5, 6), times=DAYS, name="a"):
    return pd.DataFrame({"unique_id": name, "ds": times, "y": y})


def test_series_come_sorted_by_name_on_one_grid():
    found = collect(pd.concat([table(name="b"), table(name="a")]))
    assert found.names == ("a", "b")
    assert found.freq == pd.tseries.frequencies.to_offset("D")
    assert found.by_name["b"].y.tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (table().drop(columns="y"), "no column 'y'; there are"),
        (table()[:0], "no row"),
        (table(times=DAYS[[0, 1, 1, 2, 3, 4]]), "'a', 2024-03-02 00:00:00: this timestamp occurs"),
        (table(times=DAYS[[0, 2, 1, 3, 4, 5]]), "'a', 2024-03-02 .*comes after 2024-03-03"),
        (table(y=[1, 2, np.inf, 4, 5, 6]), "'a', 2024-03-03 00:00:00: y is infinite"),
        (table(y=[1, 2, np.nan, 4, 5, 6]), r"'a', 2024-03-03 00:00:00: y is missing \(1 of 6\)"),
        (table(y=[np.nan] * 6), "'a', 2024-03-01 .* to 2024-03-06 .*: no value of y"),
        (table(y=np.arange(6) + 1j), r"'a', 2024-03-01 .*: y is 1?j, no number"),
        (pd.concat([table(), table()[["y"]]], axis=1), "columns of the table have the same name"),
        (table(y=[1, 2, "x", None, 5, 6]), "'a', 2024-03-03 00:00:00: y is 'x', no number"),
        (table().assign(unique_id=["a", None] * 3), "row 1: unique_id is missing"),
        (table(times=[0.5, 1, 2, 3, 4, 5]), "'a': 0.5 is no timestamp; times are timestamps or"),
        (table()[:5].drop(3), "'a', 2024-03-04 00:00:00: this step"),
        (table(times=["x"] * 6), "'a': 'x' is no timestamp"),
        (table().assign(ds=[*DAYS[:5], None]), "'a': the timestamp after 2024-03-05 .* is missing"),
        (table().assign(ds=[None, *DAYS[1:]]), "'a': the timestamp of its first row is missing"),
    ],
)
def test_what_is_refused(frame, message):
    with pytest.raises(FrameError, match=message):
        collect(frame, freq="D" if len(frame) and frame["ds"].dtype != object else None)


def test_a_step_of_its_own_is_named():
    hours = table(times=pd.date_range("2024-03-01", periods=6, freq="h"), name="b")
    both = pd.concat([table(), hours])
    with pytest.raises(FrameError, match=r"'b', 2024-03-01 01:.*its step is 'h', that of the"):
        collect(both, fill="mask")
    with pytest.raises(FrameError, match=r"'a', 2024-03-02 .*its step is 'D', freq is '12h'"):
        collect(table(), freq="12h")
    sparse = collect(table(), freq="12h", fill="linear")  # asked for, so it is gaps
    assert sparse.series[0].y.tolist() == np.arange(1, 6.5, 0.5).tolist()
    weekdays = table(times=pd.date_range("2024-03-01", periods=6, freq="B"), name="b")
    first = table(times=pd.date_range("2024-03-04", periods=6, freq="D"), name="a")[:4]
    assert collect(pd.concat([weekdays, first])).freq == pd.offsets.BDay()


@pytest.mark.parametrize(("freq", "times"), [("hourly", DAYS), (2.5, DAYS), ("h", range(6))])
def test_a_step_of_the_wrong_kind_is_named(freq, times):
    with pytest.raises(FrameError, match=f"freq = '{freq}' is no step of times such as"):
        collect(table(times=times), freq=freq)


def test_times_without_any_step_are_named():
    jitter = np.random.default_rng(0).integers(0, 40_000, 6)
    frame = table(times=DAYS + pd.to_timedelta(jitter, unit="s"))
    with pytest.raises(FrameError, match=r"'a', 2024-03-01 .*keeps no step, rows follow each"):
        collect(frame)
    with pytest.raises(FrameError, match=r"'a', 2024-03-01 .*its only row, and no series has two"):
        collect(table()[:1])


def test_a_column_has_one_meaning():
    for columns in ({"known": ("y",)}, {"known": ("p", "p")}, {"id": "ds"}):
        with pytest.raises(FrameError, match="is named twice"):
            Columns(**columns)


def test_periods_are_their_first_moment():
    months = pd.period_range("2024-01", periods=6, freq="M")
    found = collect(table(times=months))
    assert found.freq == pd.offsets.MonthBegin()
    assert found.series[0].times[1] == pd.Timestamp("2024-02-01")


def test_text_is_read_as_times():
    found = collect(table(times=[f"2024-03-0{k}T12:00" for k in range(1, 7)])).series[0]
    assert found.times[1] == pd.Timestamp("2024-03-02 12:00")
    with pytest.raises(FrameError, match=r"time zone UTC\+02:00, before it UTC"):
        collect(table(times=[f"2024-03-0{k}T12:00+0{k // 2}:00" for k in (1, 4, 5, 6, 7, 8)]))


def test_a_file_too_short_to_learn_from_is_named(tmp_path):
    table().to_csv(tmp_path / "short.csv", index=False)
    model = registry.config("ts-forecast", preset="tiny", h=5)
    with pytest.raises(FrameError, match=r"'a', 2024-03-06 .*6 rows .* leave 5 to learn from"):
        ForecastDataset(ForecastData(path=tmp_path / "short.csv"), model)


def test_series_one_by_one_for_a_network_that_mixes_them_are_warned_of(tmp_path):
    wide = pd.DataFrame({"date": DAYS, "a": np.arange(6.0), "b": np.arange(6.0) ** 2})
    wide.to_csv(tmp_path / "wide.csv", index=False)
    model = registry.config("ts-forecast", preset="s_mamba", h=1, input_size=2)
    with pytest.warns(UserWarning, match=r"'s_mamba' .* channels = 1 .*--model.channels 2"):
        ForecastDataset(ForecastData(path=tmp_path / "wide.csv"), model)


def test_many_series_keep_their_rows_in_order():
    rows = pd.concat([table(y=np.arange(6) + 10 * k, name=n) for k, n in enumerate("cab")])
    mixed = rows.sort_values("ds", kind="stable")  # a step of every series, then the next one
    found = collect(mixed)
    assert found.names == ("a", "b", "c")
    assert found.by_name["c"].y.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.by_name["b"].y.tolist() == [20, 21, 22, 23, 24, 25]


def test_what_is_no_table_is_named():
    with pytest.raises(FrameError, match="a pandas or polars data frame is needed, not <class"):
        collect([1, 2])


def test_times_between_steps_are_named():
    times = [*DAYS[:4], DAYS[4] + pd.Timedelta("5h"), DAYS[5]]
    with pytest.raises(FrameError, match="2024-03-05 05:00:00: lies between the steps of freq"):
        collect(table(times=times), freq="D")


def test_mixed_time_zones_are_named():
    times = [DAYS[0].tz_localize("UTC"), *(d.tz_localize("Asia/Tokyo") for d in DAYS[1:])]
    with pytest.raises(FrameError, match=r"'a', 2024-03-02 .*time zone Asia/Tokyo, before it UTC"):
        collect(table(times=pd.Series(times, dtype=object)))


def test_a_constant_series_is_named():
    with pytest.warns(UserWarning, match=r"'a' is constant \(3\) from 2024-03-01"):
        collect(table(y=[3.0] * 6))


@pytest.mark.parametrize(
    ("fill", "y", "observed"),
    [
        ("ffill", [1, 1, 1, 4, 5, 6], [True] * 6),
        ("linear", [1, 2, 3, 4, 5, 6], [True] * 6),
        ("mask", [1, 0, 0, 4, 5, 6], [True, False, False, True, True, True]),
    ],
)
def test_gaps_are_filled_by_the_rule(fill, y, observed):
    gap = table(y=[1, np.nan, 3, 4, 5, 6.0]).drop(2)  # a missing value and a missing row
    one = collect(gap, freq="D", fill=fill).series[0]
    assert one.y.tolist() == y
    assert one.observed.tolist() == observed


def test_nothing_to_carry_on_at_the_start():
    with pytest.raises(FrameError, match=r"2024-03-01 .*nothing before it"):
        collect(table(y=[np.nan, 2, 3, 4, 5, 6]), fill="ffill")


def test_known_columns_must_be_known():
    frame = table().assign(price=[1, 2, np.nan, 4, 5, 6])
    with pytest.raises(FrameError, match=r"2024-03-03 .*price is missing"):
        collect(frame, Columns(known=("price",)))


def test_whole_numbers_are_times_too():
    found = collect(table(times=[3, 5, 7, 9, 11, 13]))
    assert found.freq == 2
    assert following(found.series[0].times, 2, found.freq).tolist() == [15, 17]


def test_polars_in_and_out():
    polars = pytest.importorskip("polars")
    found = collect(polars.from_pandas(table()))
    assert found.backend == "polars"
    assert found.series[0].times.equals(pd.DatetimeIndex(DAYS, freq=None))
    dates = polars.from_pandas(table()).with_columns(polars.col("ds").cast(polars.Date))
    assert collect(dates).series[0].times.equals(pd.DatetimeIndex(DAYS, freq=None))
    zoned = polars.from_pandas(table(times=DAYS.tz_localize("Europe/Paris")))
    times = collect(zoned).series[0].times
    assert str(times.tz) == "Europe/Paris"
    back = to_native({"ds": times, "n": np.array(["a"] * 6, dtype=object)}, "polars")
    assert back["ds"].dtype.time_zone == "Europe/Paris"
    assert back["n"].to_list() == ["a"] * 6


def test_files_long_and_wide(tmp_path):
    long = pd.concat([table(), table(name="b")])
    long.to_csv(tmp_path / "long.csv", index=False)
    wide = pd.DataFrame({"date": DAYS, "b": range(6), "a": range(6)})
    wide.to_csv(tmp_path / "wide.csv", index=False)
    for name in ("long", "wide"):
        assert collect_file(tmp_path / f"{name}.csv", Columns()).names == ("a", "b")
    pytest.importorskip("pyarrow")
    long.to_parquet(tmp_path / "long.parquet")
    assert collect_file(tmp_path / "long.parquet", Columns()).names == ("a", "b")
    (tmp_path / "x.txt").touch()
    with pytest.raises(FrameError, match=r"must be a \.csv or \.parquet"):
        collect_file(tmp_path / "x.txt", Columns())
    with pytest.raises(FileNotFoundError, match="does not exist"):
        collect_file(tmp_path / "no.csv", Columns())
