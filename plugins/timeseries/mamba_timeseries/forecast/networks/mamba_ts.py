"""MambaTS (Cai et al., 2405.16440): all channels' patches in one sequence, in a learnt order."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerChoice, MultiScanConfig
from mamba_timeseries.forecast.config import MambaTS
from mamba_timeseries.forecast.networks.base import ForecastNetwork, cut, patches
from mamba_timeseries.forecast.tour import ORDER


class MambaTSNetwork(ForecastNetwork):
    """Embedding, scans along the tour of channels, one linear head per channel's patches.

    Training reads channels in a random order of its own for every sample; otherwise ``tour``
    holds, which :func:`~mamba_timeseries.forecast.fit.fit_tour` sets.
    """

    tour: Tensor

    def __init__(
        self, config: MambaTS, mixer: MixerChoice, input_size: int, channels: int, values: int
    ) -> None:
        super().__init__()
        self.config = config
        self.count = patches(input_size, config.patch, config.patch)
        self.embedding = nn.Linear(config.patch, config.d_model)
        self.place = nn.Parameter(0.02 * torch.randn(self.count, config.d_model))
        self.dropout = nn.Dropout(config.dropout)
        self.backbone = Backbone(
            BackboneConfig(
                d_model=config.d_model,
                pattern="M" * config.depth,
                mixer=mixer,
                scan=MultiScanConfig(scan_order=ORDER, merge="sum"),
            )
        )
        self.head = nn.Linear(self.count * config.d_model, values)
        self.register_buffer("tour", torch.arange(channels))

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        x = self.embedding(cut(z, self.config.patch, self.config.patch)) + self.place
        tours = self.random_tours(len(z)) if self.training else self.tour.expand(len(z), -1)
        context = {"tour": tours, "patches": torch.tensor(self.count)}
        tokens = self.backbone(self.dropout(x).flatten(1, 2), context=context)
        return self.head(tokens.unflatten(1, (z.shape[-1], -1)).flatten(2))

    def random_tours(self, batch: int) -> Tensor:
        """Return a permutation of the channels per sample, int64 ``(batch, channels)``."""
        return torch.rand(batch, self.tour.shape[-1], device=self.tour.device).argsort(-1)
