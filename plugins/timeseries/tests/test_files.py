"""Forecasts from files and to files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mamba_core import registry
from mamba_timeseries import FrameError
from mamba_timeseries.forecast.predict import FileForecaster


def load(*names):
    """Thirty hours of some series."""
    times = pd.date_range("2024-01-01", periods=30, freq="h")
    rows = {"ds": np.tile(times, len(names)), "y": np.arange(30.0 * len(names))}
    return pd.DataFrame({"unique_id": np.repeat(names, 30), **rows})


def test_files(tmp_path):
    model = registry.build("ts-forecast", preset="tiny").eval()
    data = load("a", "b")
    data.to_csv(tmp_path / "load.csv", index=False)
    one = FileForecaster(model)
    (row,) = one.run([tmp_path / "load.csv"], tmp_path / "out")
    assert (row["series"], row["rows"]) == (2, 16)
    out = pd.read_csv(row["output"])
    assert list(out) == ["unique_id", "ds", "yhat", "q0.1", "q0.5", "q0.9"]
    with pytest.raises(FileExistsError, match="exists already"):
        one.run([tmp_path / "load.csv"], tmp_path / "out")
    wide = data.pivot(index="ds", columns="unique_id", values="y").reset_index()
    pd.testing.assert_frame_equal(one.forecast(wide), one.forecast(data))


def test_files_with_known_columns():
    model = registry.build("ts-forecast", preset="dlinear", h=4, input_size=8, covariates=1)
    config = registry.resolve(registry.spec("ts-forecast").predict_config)(known=("price",))
    data = load("a").assign(price=1.0)
    with pytest.raises(FrameError, match="the file ends with a target"):
        FileForecaster(model.eval(), config).forecast(data)
    data.loc[26:, "y"] = np.nan
    assert len(FileForecaster(model.eval(), config).forecast(data)) == 4
