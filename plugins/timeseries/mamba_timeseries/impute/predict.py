"""Fill the gaps of tables in files with a trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from mamba_registry import TaskSpec
from mamba_timeseries.files import FilePredictor
from mamba_timeseries.forecast.data import Panel, make_panels
from mamba_timeseries.frame import collect, widened
from mamba_timeseries.impute.config import ImputePredict
from mamba_timeseries.impute.data import cover
from mamba_timeseries.impute.model import Reconstructor


class FileImputer(FilePredictor):
    """A trained model for daily use: tables with :meth:`fill`, files with :meth:`run`.

    A series is read in windows that overlap by half; a step takes its value from the window it
    lies most inside of.

    :param model: in eval mode.
    :param config: see :class:`~mamba_timeseries.impute.config.ImputePredict`.
    :param spec: the task's record.
    :param device: where the model came from; it is used on the CPU.
    """

    suffix = "filled"

    def __init__(
        self,
        model: Reconstructor,
        config: ImputePredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or ImputePredict()
        self.model = model.to("cpu")
        self.columns = self.config.columns()

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See :meth:`fill`."""
        return self.fill(frame)

    def fill(self, frame: Any) -> pd.DataFrame:
        """Return the table as a long one, missing values and steps filled in original units.

        :param frame: long or wide; ``filled`` in the result marks what was not there.
        :raises FrameError: for a table that cannot be used, or a series shorter than a window.
        """
        c = self.columns
        table = widened(pd.DataFrame(frame), c)
        collection = collect(table, c, freq=self.config.freq, fill="mask")
        ends = [(len(s),) * 3 for s in collection.series]
        found: dict[str, np.ndarray] = {}
        for panel in make_panels(collection, self.model.config, ends):
            filled = panel.invert(self._fill(panel))
            found |= {name: filled[:, k] for k, name in enumerate(panel.names)}
        parts = [
            pd.DataFrame(
                {
                    c.id: s.name,
                    c.time: s.times,
                    c.target: np.where(s.observed, s.y, found[s.name]),
                    "filled": ~s.observed,
                }
            )
            for s in collection.series
        ]
        return pd.concat(parts, ignore_index=True)

    @torch.no_grad()
    def _fill(self, panel: Panel) -> np.ndarray:
        """``(steps, channels)``, standardised."""
        size, steps = self.model.config.size, len(panel.values)
        starts, values, seen = cover(panel, size)
        filled = self.model(values, seen)["filled"].double().numpy()
        centre = np.array(starts) + (size - 1) / 2
        nearest = np.abs(np.arange(steps)[:, None] - centre).argmin(1)
        return np.stack([filled[w, t - starts[w]] for t, w in enumerate(nearest)])
