"""DLinear (Zeng et al., 2205.13504): trend and rest, a linear map each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mamba_timeseries.forecast.config import DLinear
from mamba_timeseries.forecast.networks.base import ForecastNetwork


class DLinearNetwork(ForecastNetwork):
    """``trend(moving average) + rest(window - moving average)``, shared by all channels."""

    def __init__(self, config: DLinear, input_size: int, values: int) -> None:
        super().__init__()
        self.average = config.average
        self.trend, self.rest = nn.Linear(input_size, values), nn.Linear(input_size, values)
        for layer in (self.trend, self.rest):  # a fresh map forecasts the window's mean
            nn.init.constant_(layer.weight, 1 / input_size)

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        rows = z.transpose(1, 2)
        edge = self.average // 2
        padded = F.pad(rows, (edge, edge), mode="replicate")
        trend = F.avg_pool1d(padded, self.average, stride=1)
        return self.trend(trend) + self.rest(rows - trend)
