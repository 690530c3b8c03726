"""Mamba4Rec (Liu et al., 2403.03900), with any causal mixer, trained on all positions at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import MixerChoice, MixerState, build_mixer
from mamba_core.mixers.packed import mix_packed
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import SequenceNetwork
from mamba_recsys.ragged import last, one_each

STD = 0.02
"""Of the published initial weights."""
_EPS = 1e-12


class FeedForward(nn.Module):
    """``LN(x + dropout(w_2 dropout(gelu(w_1 x))))``, four times as wide inside."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Linear(d_model, 4 * d_model)
        self.w_2 = nn.Linear(4 * d_model, d_model)
        self.dropout = nn.Dropout(dropout)
        self.LayerNorm = nn.LayerNorm(d_model, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d_model) -> (..., d_model)``, per token."""
        return self.LayerNorm(x + self.dropout(self.w_2(self.dropout(F.gelu(self.w_1(x))))))


class MambaLayer(nn.Module):
    """A mixer with a norm behind it, then a feed-forward part.

    :param residual: False leaves the sum around the mixer out, as the published single layer does.
    """

    def __init__(self, d_model: int, mixer: MixerChoice, dropout: float, *, residual: bool) -> None:
        super().__init__()
        self.mamba = build_mixer(mixer, d_model)
        self.dropout = nn.Dropout(dropout)
        self.LayerNorm = nn.LayerNorm(d_model, eps=_EPS)
        self.ffn = FeedForward(d_model, dropout)
        self.residual = residual

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Everything behind the mixer, per token."""
        mixed = self.dropout(mixed)
        return self.ffn(self.LayerNorm(mixed + x if self.residual else mixed))


class Mamba4RecNetwork(SequenceNetwork):
    """Dropout and norm, then the layers. Keys are those of the published code."""

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.Mamba4Rec) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.LayerNorm = nn.LayerNorm(d_model, eps=_EPS)
        self.mamba_layers = nn.ModuleList(
            MambaLayer(d_model, mixer, config.dropout, residual=config.layers > 1)
            for _ in range(config.layers)
        )
        self._init_weights(everywhere=config.init == "published")

    @torch.no_grad()
    def _init_weights(self, *, everywhere: bool) -> None:
        inside = {id(m) for layer in self.mamba_layers for m in layer.mamba.modules()}  # type: ignore[union-attr]
        for module in self.modules():
            if isinstance(module, nn.Linear) and (everywhere or id(module) not in inside):
                nn.init.normal_(module.weight, std=STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`."""
        x = self.LayerNorm(self.dropout(x))[None]
        for layer in self.mamba_layers:
            x = layer.finish(x, mix_packed(layer.mamba, x, cu_seqlens))  # type: ignore[operator,arg-type]
        return x[0]

    def init_state(self, users: int) -> MixerState:
        """The mixers' states, a child each."""
        return MixerState(
            children=tuple(layer.mamba.init_state(users) for layer in self.mamba_layers)  # type: ignore[union-attr,operator]
        )

    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`SequenceNetwork.read`; one event each goes by the mixers' steps."""
        x = self.LayerNorm(self.dropout(x))
        if one_each(cu_seqlens):
            return self._step(x, state)
        x, states = x[None], []
        for layer, child in zip(self.mamba_layers, state.children, strict=True):
            mixed, after = layer.mamba.prefill(x, child, cu_seqlens=cu_seqlens)  # type: ignore[union-attr,operator]
            x = layer.finish(x, mixed)  # type: ignore[operator]
            states.append(after)
        return last(x[0], cu_seqlens)[0], MixerState(children=tuple(states))

    def _step(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        states = []
        for layer, child in zip(self.mamba_layers, state.children, strict=True):
            mixed, after = layer.mamba.step(x, child)  # type: ignore[union-attr,operator]
            x = layer.finish(x, mixed)  # type: ignore[operator]
            states.append(after)
        return x, MixerState(children=tuple(states))
