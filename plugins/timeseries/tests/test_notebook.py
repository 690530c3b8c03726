"""The notebook runs from its first cell to its last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
FOLDER = Path(__file__).resolve().parents[3] / "examples" / "timeseries"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*won on validation")
def test_from_a_csv_to_a_plotted_forecast(tmp_path, monkeypatch, capsys):
    if not FOLDER.is_dir():
        pytest.skip("the examples come with the checkout only")
    shutil.copy(FOLDER / "air_passengers.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((FOLDER / "forecast_a_table.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "clear the outputs before committing"
            exec("".join(cell["source"]), names)
    table = names["table"]
    levels = ["q0.1", "q0.25", "q0.5", "q0.75", "q0.9"]
    assert list(table.columns) == ["unique_id", "ds", "yhat", *levels]
    assert (table[levels].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert len(table) == 12
    assert np.isfinite(table["yhat"]).all()
    assert np.abs(names["error"]).mean() < 60  # passengers run from 390 to 622
    assert {"auto", "repeat", "seasonal", "ridge"} <= set(names["result"].table["model"])
    assert all(axis.has_data() for axis in names["figure"].axes)
    assert (tmp_path / "passengers_forecaster" / "forecaster.json").is_file()
    assert "inside the 80 % band" in capsys.readouterr().out
