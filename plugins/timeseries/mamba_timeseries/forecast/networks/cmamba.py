"""CMamba (Zeng et al., 2406.05316): scans along time, channels mixed by a pooled gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.blocks import Block, BlockConfig
from mamba_core.mixers import MixerChoice, build_mixer
from mamba_timeseries.forecast.config import CMamba
from mamba_timeseries.forecast.networks.base import ForecastNetwork, cut, patches


class ChannelGate(nn.Module):
    """Scale and shift of every channel, from the means and maxima of all (GDD-MLP)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.scale = self._mlp(channels, hidden)
        self.shift = self._mlp(channels, hidden)

    @staticmethod
    def _mlp(channels: int, hidden: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, channels, tokens, d_model)``, the same; pooled over the width of tokens."""
        pooled = torch.stack([x.mean(-1), x.amax(-1)]).transpose(-1, -2)  # (2, B, N, C)
        scale = self.scale(pooled).sum(0).sigmoid().transpose(-1, -2)
        shift = self.shift(pooled).sum(0).transpose(-1, -2)
        return x * scale[..., None] + shift[..., None]


class CMambaNetwork(ForecastNetwork):
    """Embedding, layers of scan and gate, norm, linear head over a channel's patches."""

    def __init__(
        self, config: CMamba, mixer: MixerChoice, input_size: int, channels: int, values: int
    ) -> None:
        super().__init__()
        self.config = config
        count = patches(input_size, config.patch, config.stride)
        d = config.d_model
        self.embedding = nn.Linear(config.patch, d)
        self.place = nn.Parameter(0.02 * torch.randn(count, d))
        self.scans = nn.ModuleList(
            Block(d, [build_mixer(mixer, d)], BlockConfig()) for _ in range(config.depth)
        )
        self.gates = nn.ModuleList(
            ChannelGate(channels, config.reduction) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(d)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(count * d, values)

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        if self.training and self.config.mixup:
            z = self._mix(z)
        x = self.embedding(cut(z, self.config.patch, self.config.stride)) + self.place
        for scan, gate in zip(self.scans, self.gates, strict=True):
            x = gate(scan(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.head(self.dropout(self.norm(x)).flatten(2))

    def _mix(self, z: Tensor) -> Tensor:
        """Channel mixup: add a random share of another channel, ``(B, L, C)``."""
        channels = z.shape[-1]
        share = self.config.mixup * torch.randn(channels, device=z.device, dtype=z.dtype)
        return z + share * z[..., torch.randperm(channels, device=z.device)]
