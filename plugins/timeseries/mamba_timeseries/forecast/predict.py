"""Forecast tables in files with a trained model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from mamba_registry import TaskSpec
from mamba_timeseries.errors import FrameError
from mamba_timeseries.files import FilePredictor
from mamba_timeseries.forecast.candidates import network
from mamba_timeseries.forecast.config import ForecastPredict
from mamba_timeseries.forecast.forecaster import Forecaster
from mamba_timeseries.forecast.model import ForecastModel
from mamba_timeseries.frame import collect, widened


class FileForecaster(FilePredictor):
    """A trained model for daily use: tables with :meth:`forecast`, files with :meth:`run`.

    Every series is standardised by all its rows, as training does by its training rows.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_timeseries.forecast.config.ForecastPredict`.
    :param spec: the task's record.
    :param device: where the model came from; it is used on the CPU, where windows are made.
    """

    suffix = "forecast"

    def __init__(
        self,
        model: ForecastModel,
        config: ForecastPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or ForecastPredict()
        self.model = model.to("cpu")  # windows are small; the CPU is where they are made
        self.columns = self.config.columns(self.config.known)

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See :meth:`forecast`."""
        return self.forecast(frame)

    def forecast(self, frame: Any) -> pd.DataFrame:
        """Forecast what follows a table.

        :param frame: long, or wide (without a column ``config.id``); with known columns its last
            ``h`` rows of each series have no target.
        :returns: ``unique_id, ds, yhat`` and quantiles where the model has them.
        :raises FrameError: for a table that cannot be used.
        """
        table = widened(pd.DataFrame(frame), self.columns)
        future = None
        if self.columns.known:
            table, future = self._split(table)
        collection = collect(table, self.columns, freq=self.config.freq, fill=self.config.fill)
        one = Forecaster.around(network("model", self.model), collection)
        return one.predict(h=self.config.h, futr_df=future)

    def _split(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows up to the last target of each series, and those behind it."""
        c = self.columns
        known = table[c.target].notna()
        last = known[::-1].groupby(table[c.id][::-1], sort=False).cummax()[::-1]
        if last.all():
            raise FrameError(
                f"series {table[c.id].iloc[0]!r}: the file ends with a target; the rows to "
                f"forecast must follow with {', '.join(c.known)} and without {c.target}"
            )
        return table[last], table[~last]
