"""S-Mamba (Wang et al., 2403.11144): a token per channel, scanned along the channels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core import scan_orders
from mamba_core.mixers import MixerChoice, MultiScan
from mamba_timeseries.forecast.config import SMamba
from mamba_timeseries.forecast.networks.base import ForecastNetwork


class ChannelLayer(nn.Module):
    """``x + scans(x)``, norm, MLP with residual, norm (post-norm, as published)."""

    def __init__(self, config: SMamba, mixer: MixerChoice, paths: int) -> None:
        super().__init__()
        self.scans = MultiScan(config.d_model, mixer, paths, merge="sum", share="none")
        self.norm1, self.norm2 = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.d_ff)
        self.fc2 = nn.Linear(config.d_ff, config.d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, order: Tensor) -> Tensor:
        """``(batch, channels, d_model)``, the same."""
        x = self.norm1(x + self.scans(x, order=order))
        hidden = self.dropout(F.gelu(self.fc1(x)))
        return self.norm2(x + self.dropout(self.fc2(hidden)))


class SMambaNetwork(ForecastNetwork):
    """Linear embedding of each channel's window, channel layers, norm, linear head."""

    def __init__(self, config: SMamba, mixer: MixerChoice, input_size: int, values: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(input_size, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        order = scan_orders.get(config.scan_order, dims=1)
        if not isinstance(order, scan_orders.NamedOrder):
            raise ValueError(f"scan_order = {config.scan_order!r} must not depend on data")
        self.order = order
        self.layers = nn.ModuleList(
            ChannelLayer(config, mixer, scan_orders.paths(order)) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, values)

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        x = self.dropout(self.embedding(z.transpose(1, 2)))
        order = self.order((x.shape[1],), device=x.device)
        for layer in self.layers:
            x = layer(x, order)
        return self.head(self.norm(x))
