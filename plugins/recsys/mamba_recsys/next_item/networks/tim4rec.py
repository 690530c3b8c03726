"""Mamba-2 whose steps follow the clock, after TiM4Rec (Fan et al., 2409.16182).

The time since the event before stretches or shortens each head's step Δ: a long pause may wipe
more of the state than a short one. Every head learns how much, starting from not at all::

    Δ_t <- Δ_t · 2 sigmoid(a · log(1 + gap_t / unit) + b)        a = b = 0 at the start
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.blocks import GatedMLP, MLPConfig
from mamba_core.mixers import Mamba2, MixerChoice, MixerState, build_mixer
from mamba_core.registry import ConfigError
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import SequenceNetwork
from mamba_recsys.ragged import last, places


class TimedLayer(nn.Module):
    """Pre-norm Mamba-2 with timed steps, then a gated MLP, each with a residual."""

    def __init__(self, d_model: int, mixer: MixerChoice, dropout: float) -> None:
        super().__init__()
        self.norm, self.norm_2 = nn.RMSNorm(d_model), nn.RMSNorm(d_model)
        built = build_mixer(mixer, d_model)
        if not isinstance(built, Mamba2):
            raise ConfigError(
                f"mixer {mixer.name!r}: network.kind = 'tim4rec' times the steps of 'mamba2' only"
            )
        self.mixer = built
        heads = built.options.nheads
        self.slope = nn.Parameter(torch.zeros(heads))
        self.shift = nn.Parameter(torch.zeros(heads))
        self.mlp = GatedMLP(d_model, MLPConfig())
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, pause: Tensor, cu_seqlens: Tensor, state: MixerState | None
    ) -> tuple[Tensor, MixerState | None]:
        """Read packed events, continuing ``state``; None starts anew and returns no state.

        :param x: ``(1, tokens, d_model)``.
        :param pause: ``log(1 + gap / unit)``, ``(1, tokens, 1)``.
        """
        inputs, gate = self.mixer.project(self.norm(x))
        factor = 2 * torch.sigmoid(self.slope * pause.to(x) + self.shift)
        inputs = inputs._replace(dt=self._timed(inputs.dt, factor))
        y, after = self.mixer.scan(
            inputs, cu_seqlens=cu_seqlens, state=state, return_state=state is not None
        )
        x = x + self.dropout(self.mixer.combine(y, gate))
        return x + self.dropout(self.mlp(self.norm_2(x))), after

    def _timed(self, dt: Tensor, factor: Tensor) -> Tensor:
        """What the scan, which adds the bias and takes the softplus, makes the scaled step of."""
        bias = self.mixer.dt_bias
        step = F.softplus(dt.to(bias.dtype) + bias) * factor.to(bias.dtype)
        step = step.clamp(min=1e-6)
        return (step + torch.log(-torch.expm1(-step)) - bias).to(dt.dtype)


class TiM4RecNetwork(SequenceNetwork):
    """Layers with timed steps and a last norm; the state also holds the last event's time."""

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.TiM4Rec) -> None:
        super().__init__()
        self.unit = config.unit
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            TimedLayer(d_model, mixer, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(d_model)

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`."""
        before = times.new_full((len(cu_seqlens) - 1,), torch.inf)
        pause = self._pause(times, cu_seqlens, before)
        x = self.dropout(x)[None]
        for layer in self.layers:
            x, _ = layer(x, pause, cu_seqlens, None)
        return self.norm(x[0])

    def _pause(self, times: Tensor, cu_seqlens: Tensor, before: Tensor) -> Tensor:
        """Logarithm of the time since the event before, ``(1, tokens, 1)``; 0 for the first."""
        sequence, step = places(cu_seqlens, len(times))
        previous = torch.where(step > 0, times.roll(1), before[sequence])
        gap = (times - previous).nan_to_num(nan=0.0).clamp(min=0)  # registers stand at infinity
        return torch.log1p(gap / self.unit)[None, :, None]

    def init_state(self, users: int) -> MixerState:
        """The mixers' states, and no last time (infinity)."""
        device = self.norm.weight.device
        never = torch.full((users,), torch.inf, dtype=torch.float64, device=device)
        children = tuple(layer.mixer.init_state(users) for layer in self.layers)  # type: ignore[union-attr,operator]
        return MixerState({"time": never}, children)

    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`SequenceNetwork.read`."""
        before = state.tensors["time"]
        pause = self._pause(times, cu_seqlens, before)
        x, children = self.dropout(x)[None], []
        for layer, child in zip(self.layers, state.children, strict=True):
            x, after = layer(x, pause, cu_seqlens, child)
            children.append(after)
        latest, some = last(times, cu_seqlens)
        y, _ = last(self.norm(x[0]), cu_seqlens)
        return y, MixerState({"time": torch.where(some, latest, before)}, tuple(children))
