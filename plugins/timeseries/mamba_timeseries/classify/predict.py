"""Classify the series of tables in files with a trained model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from mamba_registry import TaskSpec
from mamba_timeseries.classify.config import ClassifyPredict
from mamba_timeseries.classify.data import LabelledSeries, from_frame
from mamba_timeseries.classify.model import Classifier
from mamba_timeseries.errors import FrameError
from mamba_timeseries.files import FilePredictor
from mamba_timeseries.frame import Columns


class FileClassifier(FilePredictor):
    """A trained model for daily use: tables with :meth:`classify`, files with :meth:`run`.

    :param model: in eval mode.
    :param config: see :class:`~mamba_timeseries.classify.config.ClassifyPredict`.
    :param spec: the task's record.
    :param device: where the model came from; it is used on the CPU.
    """

    suffix = "classes"

    def __init__(
        self,
        model: Classifier,
        config: ClassifyPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or ClassifyPredict()
        self.model = model.to("cpu")
        self.columns = Columns(id=self.config.id)
        own = model.config
        self.labels = own.labels or tuple(str(k) for k in range(own.classes))

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See :meth:`classify`."""
        return self.classify(frame)

    @torch.no_grad()
    def classify(self, frame: Any) -> pd.DataFrame:
        """Return ``unique_id``, ``label`` and a column ``p_<label>`` per class for every series.

        :param frame: a row per series and time; rows of one follow each other in time.
        :raises FrameError: for missing columns, missing values, or other channels.
        """
        config = self.config
        series = from_frame(pd.DataFrame(frame), config.id, config.values, None, "the table")
        if len(config.values) != self.model.config.channels:
            raise FrameError(
                f"values names {len(config.values)} columns, the model reads channels = "
                f"{self.model.config.channels}"
            )
        part = LabelledSeries(series, self.labels)
        chances = []
        for start in range(0, len(part), config.batch_size):
            stop = min(start + config.batch_size, len(part))
            batch = part.collate([part.sample(0, k) for k in range(start, stop)])
            chances.append(self.model(batch["series"], batch["lengths"])["logits"].softmax(-1))
        p = torch.cat(chances)
        columns = {f"p_{name}": p[:, k].tolist() for k, name in enumerate(self.labels)}
        return pd.DataFrame(
            {
                config.id: [one.name for one in series],
                "label": [self.labels[k] for k in p.argmax(-1).tolist()],
                **columns,
            }
        )
