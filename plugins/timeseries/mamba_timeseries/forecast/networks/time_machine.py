"""TimeMachine (Ahamed and Cheng, 2403.09898), channels one by one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core.mixers import MixerChoice, build_mixer
from mamba_timeseries.forecast.config import TimeMachine
from mamba_timeseries.forecast.networks.base import ForecastNetwork


class TimeMachineNetwork(ForecastNetwork):
    """Two widths of the window; at each one mixer across it and one along it.

    Across: ``d_model`` is the width and the sequence has length one, a gated MLP. Along:
    ``d_model`` is one and the sequence is the projected window.
    """

    def __init__(
        self, config: TimeMachine, mixer: MixerChoice, input_size: int, values: int
    ) -> None:
        super().__init__()
        n1, n2 = config.n1, config.n2
        self.lin1, self.lin2 = nn.Linear(input_size, n1), nn.Linear(n1, n2)
        self.lin3, self.lin4 = nn.Linear(n2, n1), nn.Linear(2 * n1, values)
        self.across1, self.along1 = build_mixer(mixer, n1), build_mixer(mixer, 1)
        self.across2, self.along2 = build_mixer(mixer, n2), build_mixer(mixer, 1)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        x = z.transpose(1, 2).flatten(0, 1)[:, None]  # (B C, 1, L)
        r1 = self.lin1(x)
        e = self.dropout1(r1)
        first = self.across1(e) + self._along(self.along1, e)
        r2 = self.lin2(e)
        e = self.dropout2(r2)
        second = self.across2(e) + r2 + self._along(self.along2, e)
        joined = torch.cat([self.lin3(second) + r1, first], dim=-1)
        return self.lin4(joined)[:, 0].unflatten(0, (len(z), z.shape[-1]))

    @staticmethod
    def _along(mixer: nn.Module, x: Tensor) -> Tensor:
        return mixer(x.transpose(1, 2)).transpose(1, 2)
