"""Patches of a window through a stack: PatchTST's and Bi-Mamba+'s form, by mixer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig, MLPConfig
from mamba_core.mixers import MixerChoice, MultiScanConfig
from mamba_timeseries.forecast.config import PatchEncoder
from mamba_timeseries.forecast.networks.base import ForecastNetwork, cut, patches


class PatchEncoderNetwork(ForecastNetwork):
    """Linear embedding and learned place of each patch, backbone, one linear head per channel's
    patches together."""

    def __init__(
        self, config: PatchEncoder, mixer: MixerChoice, input_size: int, values: int
    ) -> None:
        super().__init__()
        self.config = config
        count = patches(input_size, config.patch, config.stride)
        self.embedding = nn.Linear(config.patch, config.d_model)
        self.place = nn.Parameter(0.02 * torch.randn(count, config.d_model))
        self.dropout = nn.Dropout(config.dropout)
        order = config.scan_order
        scan = None if order is None else MultiScanConfig(scan_order=order, merge="sum")
        self.backbone = Backbone(
            BackboneConfig(
                d_model=config.d_model,
                pattern="M-" * config.depth,
                mixer=mixer,
                scan=scan,
                mlp=MLPConfig(d_intermediate=config.d_ff),
            )
        )
        self.head = nn.Linear(count * config.d_model, values)

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        x = self.embedding(cut(z, self.config.patch, self.config.stride)) + self.place
        x = self.dropout(x)
        if self.config.tokens == "time":  # (B, C, N, D): a sequence per channel
            x = self.backbone(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        else:  # a sequence of channels per patch
            x = x.transpose(1, 2)
            x = self.backbone(x.flatten(0, 1)).unflatten(0, x.shape[:2]).transpose(1, 2)
        return self.head(x.flatten(2))
