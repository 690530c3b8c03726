"""The model of ``ts-forecast``: scale, network, quantiles, scale back; and its stream."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_timeseries.forecast import config as C
from mamba_timeseries.forecast.config import ForecastConfig
from mamba_timeseries.forecast.networks.base import ForecastNetwork
from mamba_timeseries.forecast.networks.patch_decoder import PatchDecoderNetwork, StreamState
from mamba_timeseries.forecast.normalise import RunningScale, carried, window_scale

Outputs = dict[str, Tensor]


@dataclass(frozen=True)
class Stream:
    """What a model keeps of the observations it has read."""

    network: StreamState
    scale: RunningScale | None


class ForecastModel(nn.Module):
    """Forecasts of every channel and step, and their quantiles where the config asks for them.

    Quantiles cannot cross: 0.5 is forecast, and the distances to its neighbours are positive.

    :param config: see :class:`~mamba_timeseries.forecast.config.ForecastConfig`.
    """

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = max(len(config.quantiles), 1)
        self.network = _network(config, config.h * self.outputs)
        self.linear: nn.Linear | None = None
        if config.linear:
            # no bias: a window that is scaled or shifted gives a forecast that is too
            self.linear = nn.Linear(config.input_size, config.h, bias=False)
            nn.init.zeros_(self.linear.weight)
            self.network.silence()
        # what is known ahead adds to the forecast of its own step, in units of the window's scale
        self.known = (
            nn.Sequential(nn.Linear(config.covariates, 32), nn.GELU(), nn.Linear(32, 1, bias=False))
            if config.covariates
            else None
        )

    def forward(self, past: Tensor, observed: Tensor, known: Tensor) -> Outputs:
        """Forecast.

        :param past: float ``(batch, input_size, channels)``; any finite value where not observed.
        :param observed: bool, like ``past``.
        :param known: float ``(batch, input_size + h, covariates)``, standardised.
        :returns: ``forecast`` ``(batch, h, channels)`` and ``quantiles``
            ``(batch, h, channels, levels)``, in the scale of ``past``.
        :raises ValueError: for another number of steps or channels.
        """
        size, channels = self.config.input_size, self.config.channels
        if past.dim() != 3 or past.shape[1:] != (size, channels):
            raise ValueError(
                f"past has shape {tuple(past.shape)}, expected (batch, input_size = {size}, "
                f"channels = {channels})"
            )
        if self.config.norm == "running":
            z, center, scale = _running(past, observed)
        elif self.config.norm == "instance":
            center, scale = window_scale(past, observed)
            z = torch.where(observed, (past - center) / scale, 0)
        else:
            center, scale = torch.zeros_like(past[:, :1]), torch.ones_like(past[:, :1])
            z = torch.where(observed, past, 0)
        raw = self._raw(self.network(z, observed), self._effect(known))
        if self.linear is not None:
            raw = self._with_linear(raw, past, observed, center, scale)
        return self._finish(
            raw, center.transpose(1, 2)[..., None], scale.transpose(1, 2)[..., None]
        )

    def _with_linear(
        self, raw: Tensor, past: Tensor, observed: Tensor, center: Tensor, scale: Tensor
    ) -> Tensor:
        """Add the linear forecast to the mean, or to the median, in the window's scale."""
        assert self.linear is not None
        known = carried(past, observed)
        last = known[:, -1:]
        ahead = self.linear((known - last).transpose(1, 2)).transpose(1, 2) + last
        middle = self.config.quantiles.index(0.5) if self.config.quantiles else 0
        share = ((ahead - center) / scale).transpose(1, 2)[..., None]
        return raw + F.pad(share, (middle, self.outputs - 1 - middle))

    @torch.no_grad()
    def begin_linear(self, weights: Tensor) -> None:
        """Set the map beside the network.

        :param weights: ``(input_size, h)``, of values relative to the window's last one.
        :raises TypeError: when the config asks for no such map.
        """
        if self.linear is None:
            raise TypeError("this model has no linear map: build it with linear=True")
        self.linear.weight.copy_(weights.T)

    def _effect(self, known: Tensor) -> Tensor | float:
        """What is known ahead, per step: ``(batch, 1, h, 1)``, relative to the known past."""
        if self.known is None:
            return 0.0
        effect = self.known(known)[..., 0]
        size = self.config.input_size
        relative = effect[:, size:] - effect[:, :size].mean(1, keepdim=True)
        return relative[:, None, :, None]

    def _raw(self, values: Tensor, effect: Tensor | float) -> Tensor:
        """``(B, C, h * outputs) -> (B, C, h, outputs)``."""
        return values.unflatten(-1, (self.config.h, self.outputs)) + effect

    def _finish(self, raw: Tensor, center: Tensor, scale: Tensor) -> Outputs:
        """Make quantiles rise, scale back, put channels last."""
        if not self.config.quantiles:
            forecast = (raw * scale + center)[..., 0].transpose(1, 2)
            return {"forecast": forecast, "quantiles": forecast.new_empty(*forecast.shape, 0)}
        middle = self.config.quantiles.index(0.5)
        below = F.softplus(raw[..., :middle]).flip(-1).cumsum(-1).flip(-1)
        above = F.softplus(raw[..., middle + 1 :]).cumsum(-1)
        median = raw[..., middle : middle + 1]
        quantiles = torch.cat([median - below, median, median + above], dim=-1)
        quantiles = (quantiles * scale + center).transpose(1, 2)
        return {"forecast": quantiles[..., middle], "quantiles": quantiles}

    def start(self, streams: int) -> Stream:
        """Return the state of streams of single values, before the first observation.

        :raises TypeError: for a network or a norm that needs whole windows, or covariates.
        """
        network = self._streaming()
        device = next(self.parameters()).device
        running = self.config.norm == "running"
        scale = RunningScale.start(streams, device) if running else None
        return Stream(network.start(streams), scale)

    def read(self, x: Tensor, seen: Tensor, stream: Stream) -> Stream:
        """Take in observations, at a cost that does not depend on how many came before.

        :param x: float ``(streams, steps)``.
        :param seen: bool, like ``x``: what was observed.
        """
        z, scale = torch.where(seen, x, 0), stream.scale
        if scale is not None:
            z, scale = scale.read(x, seen)
        return Stream(self._streaming().read(z, seen, stream.network), scale)

    def tell(self, stream: Stream) -> Outputs:
        """Forecast what follows; the stream stays as it is. Shapes as :meth:`forward`, one
        channel."""
        raw = self._raw(self._streaming().tell(stream.network)[:, None], 0.0)
        if stream.scale is None:
            return self._finish(raw, raw.new_zeros(()), raw.new_ones(()))
        center, scale = (t.to(raw.dtype)[:, None, None, None] for t in stream.scale.now())
        return self._finish(raw, center, scale)

    def _streaming(self) -> PatchDecoderNetwork:
        network = self.network
        whole = self.config.norm == "instance" or self.known is not None or self.config.linear
        if not isinstance(network, PatchDecoderNetwork) or whole:
            raise TypeError(
                f"network {self.config.network.kind!r} with norm = {self.config.norm!r}, "
                f"covariates = {self.config.covariates} and linear = {self.config.linear} needs "
                "whole windows: a stream needs 'patch_decoder', norm 'running' or 'none', no "
                "covariates and no linear map"
            )
        return network


def _running(past: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, seen = (t.transpose(1, 2).flatten(0, 1) for t in (past, observed))
    z, after = RunningScale.start(len(rows), past.device).read(rows, seen)
    shape = (len(past), past.shape[-1])
    center, scale = (t.to(past.dtype).unflatten(0, shape)[:, None] for t in after.now())
    return z.unflatten(0, shape).transpose(1, 2), center, scale


def _network(config: ForecastConfig, values: int) -> ForecastNetwork:
    """Build the network a config asks for."""
    from mamba_timeseries.forecast.networks import (
        cmamba,
        linear,
        mamba_ts,
        patch_encoder,
        s_mamba,
        time_machine,
    )

    own, mixer, size, channels = config.network, config.mixer, config.input_size, config.channels
    if isinstance(own, C.SMamba):
        return s_mamba.SMambaNetwork(own, mixer, size, values)
    if isinstance(own, C.PatchDecoder):
        return PatchDecoderNetwork(own, mixer, values)
    if isinstance(own, C.PatchEncoder):
        return patch_encoder.PatchEncoderNetwork(own, mixer, size, values)
    if isinstance(own, C.CMamba):
        return cmamba.CMambaNetwork(own, mixer, size, channels, values)
    if isinstance(own, C.MambaTS):
        return mamba_ts.MambaTSNetwork(own, mixer, size, channels, values)
    if isinstance(own, C.TimeMachine):
        return time_machine.TimeMachineNetwork(own, mixer, size, values)
    return linear.DLinearNetwork(own, size, values)


def example(
    config: ForecastConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> dict[str, Tensor]:
    """Return windows of noisy waves, a few steps of them not observed.

    :returns: ``past``, ``observed``, ``known`` as :meth:`ForecastModel.forward` takes them, and
        ``target``, ``target_observed`` ``(batch, h, channels)``, ``levels`` ``(batch, levels)``.
    """
    size, steps = config.input_size, config.input_size + config.h
    shape = (batch_size, 1, config.channels)
    time = torch.arange(steps)[None, :, None]
    period = 6 + 18 * torch.rand(shape, generator=generator)
    phase = torch.rand(shape, generator=generator)
    noise = torch.randn(batch_size, steps, config.channels, generator=generator)
    level = torch.randn(shape, generator=generator)
    values = level + torch.sin(6.2832 * (time / period + phase)) + 0.1 * noise
    observed = torch.rand(batch_size, size, config.channels, generator=generator) > 0.05
    target = values[:, size:].contiguous()
    batch = {
        "past": values[:, :size].contiguous(),
        "observed": observed,
        "known": torch.randn(batch_size, steps, config.covariates, generator=generator),
        "target": target,
        "target_observed": torch.ones_like(target, dtype=torch.bool),
        "levels": torch.tensor(config.quantiles).expand(batch_size, -1),
    }
    return {name: value.to(device) for name, value in batch.items()}
