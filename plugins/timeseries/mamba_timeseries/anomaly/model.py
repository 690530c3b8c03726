"""Each step judged by how far it is from what the steps around it lead one to expect."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_timeseries.anomaly.config import AnomalyConfig
from mamba_timeseries.forecast.normalise import window_scale
from mamba_timeseries.impute.model import Reconstructor
from mamba_timeseries.impute.model import example as windows

Values = dict[str, Tensor]


class AnomalyDetector(Reconstructor):
    """A reconstructor that never sees the step it judges.

    In ``folds`` passes alternate blocks of steps are hidden, each step in one of them.

    :param config: see :class:`~mamba_timeseries.anomaly.config.AnomalyConfig`.
    """

    config: AnomalyConfig

    def __init__(self, config: AnomalyConfig) -> None:
        super().__init__(config)

    def forward(self, values: Tensor, observed: Tensor) -> Values:
        """Judge every step.

        :param values: float ``(batch, size, channels)``, any finite value where not observed.
        :param observed: bool, like ``values``.
        :returns: ``expected`` like ``values``, and ``scores`` ``(batch, size)``: the mean over
            channels of the distance in units of the window's deviation, 0 where nothing is seen.
        """
        steps = torch.arange(values.shape[1], device=values.device)
        fold = (steps // self.config.block) % self.config.folds
        expected = torch.zeros_like(values)
        for k in range(self.config.folds):
            hidden = (fold == k)[None, :, None]
            seen = observed & ~hidden
            expected = torch.where(hidden, self.reconstruct(values, seen), expected)
        _, scale = window_scale(values, observed)
        distance = torch.where(observed, (values - expected).abs() / scale, 0)
        return {"expected": expected, "scores": distance.mean(-1)}


def example(
    config: AnomalyConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> Values:
    """Return windows of noisy waves with spikes.

    :returns: ``values``, ``observed`` ``(batch, size, channels)``, ``labels`` int64
        ``(batch, size)``.
    """
    batch = windows(config, batch_size=batch_size, generator=generator, device="cpu")
    labels = torch.rand(batch_size, config.size, generator=generator) < 0.05
    labels[:, 0] = True
    made = {
        "values": batch["truth"] + 4 * labels[..., None],
        "observed": torch.ones_like(batch["observed"]),
        "labels": labels.long(),
    }
    return {name: value.to(device) for name, value in made.items()}
