"""``Forecaster`` as a GluonTS estimator and predictor (``pip install mamba-timeseries[gluonts]``).

GluonTS 0.17 asks for pandas below 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import Predictor

from mamba_timeseries.errors import FrameError
from mamba_timeseries.forecast.forecaster import Forecaster

DECILES = tuple(k / 10 for k in range(1, 10))
Entry = Mapping[str, Any]
"""GluonTS' record of a series: ``start`` (a period), ``target``, maybe ``item_id``."""


class MambaEstimator(Estimator):
    """Trains a :class:`~mamba_timeseries.forecast.forecaster.Forecaster` on a GluonTS dataset.

    :param prediction_length: steps to forecast.
    :param model: a preset of ``ts-forecast``, a baseline, or ``auto``.
    :param quantiles: levels to forecast, with 0.5 among them.
    :param options: further arguments of ``Forecaster``, such as ``input_size`` or ``train``.
    """

    def __init__(
        self,
        prediction_length: int,
        model: str = "patch_decoder",
        *,
        quantiles: Sequence[float] = DECILES,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.prediction_length, self.model = prediction_length, model
        self.quantiles, self.options = tuple(quantiles), dict(options or {})

    def train(
        self, training_data: Iterable[Entry], validation_data: Iterable[Entry] | None = None
    ) -> MambaPredictor:
        """Fit on all series; missing values are masked.

        :param validation_data: must be None: the last part of every series is held back.
        :raises FrameError: for series that cannot be used, naming them.
        """
        if validation_data is not None:
            raise ValueError(
                "validation_data: the model is chosen on the last part of every training series "
                "(options={'val_share': ...}); leave it out"
            )
        one = Forecaster(
            self.model,
            h=self.prediction_length,
            quantiles=self.quantiles,
            fill="mask",
            **self.options,
        )
        return MambaPredictor(one.fit(_table(list(training_data))))


class MambaPredictor(Predictor):
    """A fitted forecaster that forecasts GluonTS datasets."""

    def __init__(self, forecaster: Forecaster) -> None:
        super().__init__(prediction_length=forecaster.h)
        self.forecaster = forecaster

    def predict(self, dataset: Iterable[Entry]) -> Iterator[QuantileForecast]:
        """Forecast what follows every series, in the dataset's order.

        :raises FrameError: for series that cannot be used, naming them.
        """
        entries = list(dataset)
        table = self.forecaster.predict(_table(entries))
        columns = [c for c in table if c == "yhat" or c.startswith("q")]
        keys = ["mean", *(c[1:] for c in columns[1:])]
        found = {str(name): rows for name, rows in table.groupby("unique_id")}
        for k, entry in enumerate(entries):
            values = found[_name(entry, k)][columns].to_numpy().T
            start = entry["start"] + len(entry["target"])
            yield QuantileForecast(values, start, keys, item_id=entry.get("item_id"))

    def serialize(self, path: Path) -> None:
        """Write the forecaster to the folder ``path / "forecaster"``."""
        super().serialize(path)
        self.forecaster.save(path / "forecaster")

    @classmethod
    def deserialize(cls, path: Path, **options: Any) -> MambaPredictor:
        """Read what :meth:`serialize` wrote.

        :param options: must be empty; GluonTS passes a device here for networks of its own.
        """
        if options:
            raise TypeError(f"unknown arguments {sorted(options)}: a forecaster runs on the CPU")
        return cls(Forecaster.load(path / "forecaster"))


def _name(entry: Entry, place: int) -> str:
    return str(entry.get("item_id", place))


def _table(entries: Sequence[Entry]) -> pd.DataFrame:
    """A long table of a dataset."""
    parts = []
    for k, entry in enumerate(entries):
        y = np.asarray(entry["target"], dtype=np.float64)
        if y.ndim != 1:
            raise FrameError(
                f"series {_name(entry, k)!r}: target has shape {y.shape}; give one series per entry"
            )
        times = pd.period_range(entry["start"], periods=len(y), freq=entry["start"].freq)
        rows = {"unique_id": _name(entry, k), "ds": times.to_timestamp(), "y": y}
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True)
