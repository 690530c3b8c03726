"""Judge the steps of tables in files with a trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from mamba_registry import TaskSpec
from mamba_timeseries.anomaly.config import AnomalyPredict
from mamba_timeseries.anomaly.model import AnomalyDetector
from mamba_timeseries.files import FilePredictor
from mamba_timeseries.forecast.data import Panel, make_panels
from mamba_timeseries.frame import collect, widened
from mamba_timeseries.impute.data import cover


class FileDetector(FilePredictor):
    """A trained model for daily use: tables with :meth:`judge`, files with :meth:`run`.

    :param model: in eval mode.
    :param config: see :class:`~mamba_timeseries.anomaly.config.AnomalyPredict`.
    :param spec: the task's record.
    :param device: where the model came from; it is used on the CPU.
    """

    suffix = "anomalies"

    def __init__(
        self,
        model: AnomalyDetector,
        config: AnomalyPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or AnomalyPredict()
        self.model = model.to("cpu")
        self.columns = self.config.columns()

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See :meth:`judge`."""
        return self.judge(frame)

    def judge(self, frame: Any) -> pd.DataFrame:
        """Return ``unique_id, ds, y, score, anomaly`` of every step.

        :param frame: long or wide.
        :raises FrameError: for a table that cannot be used, or a series shorter than a window.
        """
        c = self.columns
        table = widened(pd.DataFrame(frame), c)
        collection = collect(table, c, freq=self.config.freq, fill="mask")
        ends = [(len(s),) * 3 for s in collection.series]
        found: dict[str, np.ndarray] = {}
        for panel in make_panels(collection, self.model.config, ends):
            scores = self._scores(panel)
            found |= dict.fromkeys(panel.names, scores)
        parts = [
            pd.DataFrame(
                {
                    c.id: s.name,
                    c.time: s.times,
                    c.target: np.where(s.observed, s.y, np.nan),
                    "score": found[s.name],
                }
            )
            for s in collection.series
        ]
        judged = pd.concat(parts, ignore_index=True)
        judged["anomaly"] = judged["score"] > judged["score"].quantile(1 - self.config.share)
        return judged

    @torch.no_grad()
    def _scores(self, panel: Panel) -> np.ndarray:
        """``(steps,)``: of each step the mean over the windows it lies in."""
        size, steps = self.model.config.size, len(panel.values)
        starts, values, seen = cover(panel, size)
        scores = self.model(values, seen)["scores"].double().numpy()
        total, count = np.zeros(steps), np.zeros(steps)
        for start, row in zip(starts, scores, strict=True):
            total[start : start + size] += row
            count[start : start + size] += 1
        return total / count
