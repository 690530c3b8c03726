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
    patches together.

    With ``tokens="correlation"`` the buffer ``mixed`` says whether a sequence is made of channels.
    """

    mixed: Tensor

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
        if config.tokens == "correlation":
            self.register_buffer("mixed", torch.zeros((), dtype=torch.bool))

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        x = self.embedding(cut(z, self.config.patch, self.config.stride)) + self.place
        x = self.dropout(x)  # (B, C, N, D)
        mixes = self._mixes()  # a sequence of channels per patch, else one of patches per channel
        rows = x.transpose(1, 2) if mixes else x
        rows = self.backbone(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        return self.head((rows.transpose(1, 2) if mixes else rows).flatten(2))

    def _mixes(self) -> bool:
        tokens = self.config.tokens
        return bool(self.mixed) if tokens == "correlation" else tokens == "channels"
