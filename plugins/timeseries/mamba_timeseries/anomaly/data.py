"""Windows of a table, and where anomalies are marked in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mamba_timeseries.anomaly.config import AnomalyConfig, AnomalyData
from mamba_timeseries.errors import FrameError
from mamba_timeseries.forecast.data import keep_columns
from mamba_timeseries.frame import Columns, collect, read_file, widened
from mamba_timeseries.impute.data import Stretches, panels_of

if TYPE_CHECKING:
    from mamba_timeseries.anomaly.model import AnomalyDetector


class AnomalyDataset:
    """The parts of a file; see :class:`~mamba_timeseries.anomaly.config.AnomalyData`.

    :raises FrameError: for a table that cannot be used.
    """

    def __init__(self, data: AnomalyData, model: AnomalyConfig) -> None:
        self.data, self.model = data, model
        columns = data.columns()
        frame = widened(read_file(data.path), columns)
        collection = collect(frame, columns, freq=data.freq, fill="mask")
        self.panels = panels_of(collection, data, model)
        self.labels = {s.name: np.zeros(len(s), dtype=np.int64) for s in collection.series}
        if data.label is not None:
            self._mark(frame, columns, data.label, {s.name: s.times for s in collection.series})

    def _mark(
        self, frame: pd.DataFrame, columns: Columns, label: str, times: dict[str, pd.Index]
    ) -> None:
        if label not in frame:
            raise FrameError(f"the table has no column {label!r}; there are {list(frame)}")
        for name, rows in frame.groupby(columns.id):
            index = times[str(name)]
            own = rows[columns.time]
            stamps = pd.to_datetime(own) if isinstance(index, pd.DatetimeIndex) else own
            places = index.get_indexer(pd.Index(stamps))
            self.labels[str(name)][places] = rows[label].fillna(0).to_numpy() > 0

    def prepare(self, model: AnomalyDetector) -> None:
        """Keep the names of the series that are read together."""
        keep_columns(model, self.panels)

    def train(self, *, seed: int) -> JudgedWindows:
        """Return the windows to learn from; their marks are not read."""
        return self._part(0, self.data.stride)

    def val(self, *, seed: int) -> JudgedWindows:
        """Return the windows to choose a model by."""
        return self._part(1, self.model.size)

    def test(self, *, seed: int) -> JudgedWindows:
        """Return the windows to report."""
        return self._part(2, self.model.size)

    def _part(self, part: int, stride: int) -> JudgedWindows:
        return JudgedWindows(Stretches(self.panels, part, self.model.size, stride), self.labels)


class JudgedWindows:
    """Windows with the marks of their steps: a step is marked when any of its channels is."""

    def __init__(self, stretches: Stretches, labels: dict[str, np.ndarray]) -> None:
        self.stretches, self.labels = stretches, labels

    def __len__(self) -> int:
        return len(self.stretches)

    def sample(self, epoch: int, index: int) -> dict[str, Tensor]:
        """Return ``values``, ``observed`` ``(size, channels)``, ``labels`` int64 ``(size,)``."""
        panel, start = self.stretches.cut(index)
        part = slice(start, start + self.stretches.size)
        marks = np.max([self.labels[name][part] for name in panel.names], axis=0)
        return {
            "values": torch.from_numpy(panel.values[part].copy()),
            "observed": torch.from_numpy(panel.observed[part].copy()),
            "labels": torch.from_numpy(marks),
        }
