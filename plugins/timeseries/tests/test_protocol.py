"""The protocol reproduces numbers that were computed and published elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from mamba_timeseries.forecast.baselines import Repeat, Seasonal, WindowMean, fit_ridge
from mamba_timeseries.forecast.protocol import (
    Scaler,
    StandardSet,
    Windows,
    borders,
    errors,
    load_standard,
)

CLOSE = 5.1e-5
"""Four printed digits."""


@pytest.fixture(scope="module")
def ett(standard_sets):
    return load_standard("ETTh1", standard_sets)


def both(result):
    return (result.mse, result.mae)


def test_borders():
    assert borders(17_420, ett_hourly=True) == (8640, 11_520, 14_400)
    assert borders(7588) == (5311, 6071, 7588)
    assert borders(966) == (676, 773, 966)


def test_window_counts(ett, standard_sets):
    for h, count in ((96, 2785), (192, 2689), (336, 2545), (720, 2161)):
        for size in (96, 336):
            assert len(ett.windows("test", input_size=size, h=h)) == count
    assert len(ett.windows("train", input_size=96, h=96)) == 8449
    assert len(ett.windows("val", input_size=96, h=96)) == 2785
    exchange = load_standard("Exchange", standard_sets)
    counts = [len(exchange.windows("test", input_size=96, h=h)) for h in (96, 192, 336, 720)]
    assert counts == [1422, 1326, 1182, 798]
    ili = load_standard("ILI", standard_sets)
    counts = [len(ili.windows("test", input_size=36, h=h)) for h in (24, 36, 48, 60)]
    assert counts == [170, 158, 146, 134]


def test_scaler_of_the_training_rows(ett):
    center = [7.937742, 2.021039, 5.079771, 0.746186, 2.781762, 0.788453, 17.128262]
    scale = [5.812749, 2.090105, 5.518794, 1.926379, 1.023523, 0.630237, 9.176491]
    np.testing.assert_allclose(ett.scaler.center, center, atol=6e-7)
    np.testing.assert_allclose(ett.scaler.scale, scale, atol=6e-7)


def test_scaler_sees_no_later_row(ett):
    changed = ett.values.copy()
    changed[8640:] = 1e9
    again = StandardSet(changed, ett.ends).scaler
    np.testing.assert_array_equal(again.center, ett.scaler.center)
    np.testing.assert_array_equal(again.scale, ett.scaler.scale)


@pytest.mark.parametrize(
    ("name", "h", "expected"),
    [
        ("ETTh1", 96, (1.2944, 0.7132)),
        ("ETTh1", 192, (1.3249, 0.7331)),
        ("ETTh1", 336, (1.3299, 0.7460)),
        ("ETTh1", 720, (1.3351, 0.7550)),
        ("Exchange", 96, (0.0811, 0.1964)),
        ("Exchange", 192, (0.1671, 0.2887)),
        ("Exchange", 336, (0.3057, 0.3978)),
        ("Exchange", 720, (0.8101, 0.6764)),
        ("ILI", 24, (6.2133, 1.6222)),
        ("ILI", 36, (7.7138, 1.9059)),
        ("ILI", 48, (7.8513, 1.9521)),
        ("ILI", 60, (6.8849, 1.7884)),
    ],
)
def test_repeat(standard_sets, name, h, expected):
    windows = load_standard(name, standard_sets).windows("test", input_size=36, h=h)
    assert both(errors(Repeat(h), windows)) == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize(
    ("name", "h", "published"),
    [
        ("ETTh1", 96, (1.295, 0.713)),
        ("ETTh1", 192, (1.325, 0.733)),
        ("ETTh1", 336, (1.323, 0.744)),
        ("ETTh1", 720, (1.339, 0.756)),
        ("Exchange", 96, (0.081, 0.196)),
        ("Exchange", 192, (0.167, 0.289)),
        ("Exchange", 336, (0.305, 0.396)),
        ("Exchange", 720, (0.823, 0.681)),
        ("ILI", 24, (6.587, 1.701)),
        ("ILI", 36, (7.130, 1.884)),
        ("ILI", 48, (6.575, 1.798)),
        ("ILI", 60, (5.893, 1.677)),
    ],
)
def test_published_repeat_dropped_a_batch(standard_sets, name, h, published):
    windows = load_standard(name, standard_sets).windows("test", input_size=36, h=h)
    result = errors(Repeat(h), windows, batch_size=32, drop_last=True)
    assert both(result) == pytest.approx(published, abs=5.1e-4)


@pytest.mark.parametrize(
    ("h", "seasonal", "mean"),
    [
        (96, (0.5122, 0.4333), (0.7008, 0.5581)),
        (192, (0.5808, 0.4692), (0.7183, 0.5705)),
        (336, (0.6499, 0.5008), (0.7229, 0.5809)),
        (720, (0.6554, 0.5141), (0.7116, 0.5953)),
    ],
)
def test_seasonal_and_mean(ett, h, seasonal, mean):
    windows = ett.windows("test", input_size=96, h=h)
    assert both(errors(Seasonal(h, 24), windows)) == pytest.approx(seasonal, abs=CLOSE)
    assert both(errors(WindowMean(h), windows)) == pytest.approx(mean, abs=CLOSE)


RIDGE = [
    ("ETTh1", 96, 96, False, 0.1, (0.3815, 0.3930)),
    ("ETTh1", 96, 96, True, 1e3, (0.3831, 0.3920)),
    ("ILI", 36, 24, True, 0.1, (2.5646, 1.0265)),
    ("ILI", 104, 24, True, 1e4, (2.0995, 0.9353)),
    ("Exchange", 96, 96, True, 1e4, (0.0831, 0.1981)),
]
SLOW_RIDGE = [
    ("ETTh1", 96, 192, False, 100, (0.4318, 0.4244)),
    ("ETTh1", 96, 336, False, 1e3, (0.4752, 0.4510)),
    ("ETTh1", 96, 720, False, 3e3, (0.5002, 0.4983)),
    ("ETTh1", 96, 192, True, 1e3, (0.4339, 0.4215)),
    ("ETTh1", 96, 336, True, 1e3, (0.4754, 0.4430)),
    ("ETTh1", 96, 720, True, 3e3, (0.4699, 0.4628)),
    ("ETTh1", 336, 96, True, 1e3, (0.3696, 0.3913)),
    ("ETTh1", 336, 192, True, 3e3, (0.4027, 0.4113)),
    ("ETTh1", 336, 336, True, 1e4, (0.4261, 0.4272)),
    ("ETTh1", 336, 720, True, 3e4, (0.4338, 0.4545)),
    ("Exchange", 96, 192, True, 1e5, (0.1737, 0.2935)),
    ("Exchange", 96, 336, True, 1e5, (0.3273, 0.4118)),
    ("Exchange", 96, 720, True, 0.1, (0.9191, 0.7247)),
    ("ILI", 36, 60, True, 0.1, (2.3325, 1.0063)),
    ("ILI", 104, 60, True, 3e3, (1.9972, 0.9405)),
]


@pytest.mark.parametrize(
    ("name", "size", "h", "centred", "penalty", "expected"),
    [*RIDGE, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW_RIDGE)],
)
def test_ridge(standard_sets, name, size, h, centred, penalty, expected):
    data = load_standard(name, standard_sets)
    train, val, test = (data.windows(p, input_size=size, h=h) for p in ("train", "val", "test"))
    # the choice among ten penalties is tried once; elsewhere the known one saves the time
    chosen = {} if (name, size, h) == ("ILI", 36, 24) else {"penalties": [penalty]}
    fit = fit_ridge([train], [val], centred=centred, **chosen)
    assert fit.penalty == penalty
    assert both(errors(fit, test)) == pytest.approx(expected, abs=1e-4)


def test_ridge_chooses_its_penalty_on_validation(ett):
    train, val, test = (ett.windows(p, input_size=96, h=96) for p in ("train", "val", "test"))
    fit = fit_ridge([train], [val], centred=False)
    assert fit.penalty == 0.1
    values = [both(errors(fit, test, batch_size=size)) for size in (7, 512, 4096)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert values[0] == pytest.approx(values[2], abs=1e-6)


def test_seasonal_of_ili(standard_sets):
    windows = load_standard("ILI", standard_sets).windows("test", input_size=104, h=24)
    assert both(errors(Seasonal(24, 52), windows)) == pytest.approx((2.5638, 1.0042), abs=CLOSE)


# what needs no real data


def test_windows_are_what_slicing_gives():
    values = np.random.default_rng(0).normal(size=(20, 3))
    windows = Windows(values, 5, 4)
    assert len(windows) == 12
    for k in range(12):
        np.testing.assert_array_equal(windows.past()[k], values[k : k + 5])
        np.testing.assert_array_equal(windows.target()[k], values[k + 5 : k + 9])
    assert windows.past(3, 5).shape == (2, 5, 3)


def test_too_few_rows_hold_no_window():
    assert len(Windows(np.zeros((8, 1)), 5, 4)) == 0
    with pytest.raises(ValueError, match="no window is left"):
        errors(Repeat(4), Windows(np.zeros((8, 1)), 5, 4))


def test_errors_do_not_depend_on_the_batch_size():
    windows = Windows(np.random.default_rng(1).normal(size=(60, 2)), 7, 5)
    values = [both(errors(WindowMean(5), windows, batch_size=size)) for size in (1, 7, 512)]
    np.testing.assert_allclose(values, [values[0]] * 3, rtol=0, atol=1e-12)


def test_ridge_finds_a_linear_rule():
    rng = np.random.default_rng(2)
    values = np.zeros((400, 2))
    for t in range(2, 400):
        values[t] = 1.6 * values[t - 1] - 0.9 * values[t - 2] + 0.01 * rng.normal(size=2)
    fit = fit_ridge(
        [Windows(values, 2, 1)], [Windows(values, 2, 1)], centred=False, penalties=[1e-9]
    )
    np.testing.assert_allclose(fit.weights[:, 0], [-0.9, 1.6, 0], atol=0.05)


def test_seasonal_repeats_its_season():
    past = np.arange(6.0)[None, :, None]
    assert Seasonal(7, 3)(past)[0, :, 0].tolist() == [3, 4, 5, 3, 4, 5, 3]
    with pytest.raises(ValueError, match="season of 7"):
        Seasonal(2, 7)(past)


def test_a_constant_column_is_not_divided_by_zero():
    scaler = Scaler.fit(np.ones((5, 1)))
    assert scaler.apply(np.ones((2, 1))).tolist() == [[0.0], [0.0]]
    assert scaler.invert(np.zeros((1, 1))).tolist() == [[1.0]]


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ETTh1, Exchange, ILI"):
        load_standard("ETTh3", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds ETTh1\.csv"):
        load_standard("ETTh1", tmp_path)
    data = StandardSet(np.zeros((30, 1)), (21, 24, 30))
    with pytest.raises(ValueError, match="one of train, val, test"):
        data.windows("dev", input_size=2, h=1)
    with pytest.raises(ValueError, match="the part 'val' has 5 rows"):
        data.windows("val", input_size=2, h=4)
