"""A causal stack over patches, which a stream continues in constant time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerChoice, MixerState
from mamba_timeseries.forecast.config import PatchDecoder
from mamba_timeseries.forecast.networks.base import ForecastNetwork


@dataclass(frozen=True)
class StreamState:
    """What is kept of any number of observations: nothing grows with them."""

    mixers: MixerState
    """After the last closed patch."""
    buffer: Tensor
    """Observations of the open patch, float ``(streams, up to patch)``."""
    seen: Tensor
    """Which of these were observed, bool, like ``buffer``."""


class PatchDecoderNetwork(ForecastNetwork):
    """Tokens are a patch's values and their mask; the last token forecasts.

    The last patch may be unfinished: the rest of it is masked. In training windows are cut at a
    random place of the first patch, so that every number of left-over observations is learnt.
    """

    def __init__(self, config: PatchDecoder, mixer: MixerChoice, values: int) -> None:
        super().__init__()
        self.patch = config.patch
        self.embedding = nn.Linear(2 * config.patch, config.d_model)
        self.backbone = Backbone(
            BackboneConfig(d_model=config.d_model, pattern="M-" * config.depth, mixer=mixer)
        )
        self.head = nn.Linear(config.d_model, values)

    def forward(self, z: Tensor, observed: Tensor) -> Tensor:
        """See :meth:`ForecastNetwork.forward`."""
        if self.training and z.shape[1] > self.patch:
            first = int(torch.randint(self.patch, ()))
            z, observed = z[:, first:], observed[:, first:]
        rows, seen = (t.transpose(1, 2).flatten(0, 1) for t in (z, observed))
        tokens = self._tokens(rows, seen)
        return self.head(self.backbone(tokens)[:, -1]).unflatten(0, (len(z), z.shape[-1]))

    def start(self, streams: int) -> StreamState:
        """Return the state before the first observation.

        :raises TypeError: when the mixer cannot stream.
        """
        empty = self.head.weight.new_zeros(streams, 0)
        return StreamState(self.backbone.init_state(streams), empty, empty.bool())

    def read(self, z: Tensor, seen: Tensor, state: StreamState) -> StreamState:
        """Take in observations; each costs the same, however many came before.

        :param z: ``(streams, steps)``, 0 where nothing was observed.
        :param seen: bool, like ``z``.
        """
        rows, seen = torch.cat([state.buffer, z], 1), torch.cat([state.seen, seen], 1)
        # the last patch stays open even when it is full: its output is the forecast
        whole = max(rows.shape[1] - 1, 0) // self.patch * self.patch
        mixers = state.mixers
        if whole:
            tokens = self._tokens(rows[:, :whole], seen[:, :whole])
            _, mixers = self.backbone.prefill(tokens, mixers)
        return replace(state, mixers=mixers, buffer=rows[:, whole:], seen=seen[:, whole:])

    def tell(self, state: StreamState) -> Tensor:
        """Forecast from a state, which stays as it is: ``(streams, values)``.

        :raises ValueError: before the first observation.
        """
        if not state.buffer.shape[1]:
            raise ValueError("nothing was read yet: a forecast needs an observation")
        y, _ = self.backbone.prefill(self._tokens(state.buffer, state.seen), state.mixers)
        return self.head(y[:, -1])

    def _tokens(self, rows: Tensor, seen: Tensor) -> Tensor:
        """``(streams, steps) -> (streams, patches, d_model)``; the last patch is filled up."""
        missing = -rows.shape[1] % self.patch
        values = F.pad(rows, (0, missing)).unflatten(1, (-1, self.patch))
        mask = F.pad(seen, (0, missing)).unflatten(1, (-1, self.patch))
        return self.embedding(torch.cat([values * mask, mask.to(values)], dim=-1))
