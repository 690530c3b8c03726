"""Classify clouds of points with a trained model: in memory, in files, in folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_registry import TaskSpec
from mamba_vision.labelling.predict import Labeller
from mamba_vision.points.clouds import cloud_files, normalised, resampled, to_cloud
from mamba_vision.points.config import PointsPredict
from mamba_vision.points.model import PointsClassifier, fewest_points


class CloudLabeller(Labeller):
    """A trained classifier for clouds: in memory with :meth:`classify` and :meth:`features`, files
    and folders with :meth:`run`.

    Each cloud is brought to the number of points the model is made for.

    :param model: in eval mode, on ``device``.
    :param config: see :class:`~mamba_vision.points.config.PointsPredict`.
    :param spec: the task's record.
    :param device: where the model is.
    """

    samples = "clouds"

    def __init__(
        self,
        model: PointsClassifier,
        config: PointsPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(model, config or PointsPredict(), spec=spec, device=device)
        self.fewest = fewest_points(model.config)

    def read(self, sample: Any) -> Tensor:
        """Return float32 ``(points, 3 + features)``, normalised.

        :param sample: a path to an ``.npy``, ``.npz`` or HDF5 file with one cloud; an array or
            tensor ``(points, columns)``, unnormalised.
        :raises ValueError: for another number of columns, values that are not finite, fewer points
            than the model has groups, and files that cannot be read.
        """
        model = self.model.config
        cloud = to_cloud(sample, model, self.fewest)
        return normalised(resampled(cloud, model.points, shuffled=False), model)

    def files(self, inputs: Sequence[Path]) -> list[Path]:
        """See :meth:`Labeller.files`; a folder holds files of clouds, at any depth."""
        return cloud_files(inputs)
