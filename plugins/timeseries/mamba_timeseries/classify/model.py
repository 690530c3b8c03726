"""One causal scan over a series, pooled: the form of TSLib's single-layer Mamba classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.registry import ConfigError, mixer_spec
from mamba_timeseries.classify.config import ClassifierConfig
from mamba_timeseries.forecast.normalise import window_scale


class Classifier(nn.Module):
    """Convolution, causal mixers, mean and maximum over the series' own steps, linear head.

    Causal, so that padding behind a series is never read.

    :param config: see :class:`~mamba_timeseries.classify.config.ClassifierConfig`.
    :raises ConfigError: for a mixer that reads later steps, an even kernel, or wrong labels.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        if not mixer_spec(config.mixer.name).causal:
            raise ConfigError(f"mixer {config.mixer.name!r} reads padding: choose a causal one")
        if config.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size = {config.kernel_size} must be odd")
        if config.labels and len(config.labels) != config.classes:
            raise ConfigError(f"{len(config.labels)} labels for classes = {config.classes}")
        edge = config.kernel_size // 2
        self.embedding = nn.Conv1d(
            config.channels, config.d_model, config.kernel_size, padding=edge
        )
        self.backbone = Backbone(
            BackboneConfig(d_model=config.d_model, pattern="M" * config.depth, mixer=config.mixer)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.d_model, config.classes)

    def forward(self, series: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Classify.

        :param series: float ``(batch, length, channels)``; what lies behind ``lengths`` is not
            read.
        :param lengths: int ``(batch,)``, at least 1.
        :returns: ``{"logits": (batch, classes)}``.
        :raises ValueError: for another number of channels.
        """
        if series.dim() != 3 or series.shape[-1] != self.config.channels:
            raise ValueError(
                f"series has shape {tuple(series.shape)}, expected (batch, length, channels = "
                f"{self.config.channels})"
            )
        own = torch.arange(series.shape[1], device=series.device) < lengths[:, None]
        own = own[..., None]
        x = torch.where(own, series, 0)
        if self.config.normalise:
            center, scale = window_scale(x, own.expand_as(x))
            x = torch.where(own, (x - center) / scale, 0)
        tokens = self.backbone(self.embedding(x.transpose(1, 2)).transpose(1, 2))
        mean = torch.where(own, tokens, 0).sum(1) / lengths[:, None]
        most = tokens.masked_fill(~own, -torch.inf).amax(1)
        return {"logits": self.head(self.dropout(torch.cat([mean, most], dim=-1)))}


def example(
    config: ClassifierConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return waves whose frequency is their class, of unequal lengths.

    :returns: ``series`` ``(batch, 64, channels)``, ``lengths``, ``label`` int64 ``(batch,)``.
    """
    label = torch.randint(config.classes, (batch_size,), generator=generator)
    lengths = torch.randint(40, 65, (batch_size,), generator=generator)
    time = torch.arange(64)[None, :, None] / 64
    phase = torch.rand(batch_size, 1, config.channels, generator=generator)
    turns = 3.0 * (label + 1)[:, None, None]
    noise = torch.randn(batch_size, 64, config.channels, generator=generator)
    series = torch.sin(6.2832 * (turns * time + phase)) + 0.1 * noise
    batch = {"series": series, "lengths": lengths, "label": label}
    return {name: value.to(device) for name, value in batch.items()}
