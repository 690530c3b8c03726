"""Networks that also read a history backwards: SIGMA and EchoMamba4Rec, right at every length.

What they say after an event uses all events of the history, so it means something behind the last
one only: they are trained on prefixes, one target each, and when an event arrives they read their
window again. Nothing is padded: flips, convolutions and filters run over each history's own
events, where the published code runs them over padded rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import MixerChoice, build_mixer
from mamba_core.mixers.packed import mix_packed
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import WindowNetwork
from mamba_recsys.next_item.networks.gru4rec import run_gru
from mamba_recsys.next_item.networks.mamba4rec import FeedForward
from mamba_recsys.ragged import places

_EPS = 1e-12


def flipped(cu_seqlens: Tensor, total: int, keep: int) -> Tensor:
    """Return the order that reads each history backwards, but for its last ``keep`` events.

    :returns: int64 ``(total,)``; it is its own inverse.
    """
    sequence, step = places(cu_seqlens, total)
    edges = cu_seqlens.long()
    turned = (edges.diff() - keep).clamp(min=0)[sequence]
    within = torch.where(step < turned, turned - 1 - step, step)
    return edges[sequence] + within


class SIGMALayer(nn.Module):
    """One mixer forward and on the partly flipped history, a GRU for the latest, gated.

    The three are weighed by a softmax per event, then norm, residual and a feed-forward part.
    """

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.SIGMA) -> None:
        super().__init__()
        self.mixer = build_mixer(mixer, d_model)
        self.conv = nn.Conv1d(d_model, d_model, 3, groups=d_model)
        self.gru = nn.GRU(d_model, d_model, batch_first=True)
        self.gate = nn.Linear(d_model, 3)
        self.norm = nn.LayerNorm(d_model, eps=_EPS)
        self.ffn = FeedForward(d_model, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.keep = config.keep

    def forward(self, x: Tensor, cu_seqlens: Tensor) -> Tensor:
        """``(tokens, d_model) -> (tokens, d_model)``."""
        order = flipped(cu_seqlens, len(x), self.keep)
        straight = mix_packed(self.mixer, x[None], cu_seqlens)[0]
        turned = mix_packed(self.mixer, x[order][None], cu_seqlens)[0][order]
        recent, _ = run_gru(self.gru, self._convolved(x, cu_seqlens), cu_seqlens, None)
        weights = self.gate(x).softmax(-1)[..., None]
        mixed = (weights * torch.stack([straight, turned, recent], dim=1)).sum(1)
        return self.ffn(self.norm(self.dropout(mixed) + x))

    def _convolved(self, x: Tensor, cu_seqlens: Tensor) -> Tensor:
        """A causal convolution inside each history."""
        _, step = places(cu_seqlens, len(x))
        size = self.conv.kernel_size[0]
        taps = []
        for back in range(size - 1, -1, -1):
            own = (step >= back)[:, None]
            taps.append(
                torch.where(own, x.roll(back, 0), 0) * self.conv.weight[:, 0, size - 1 - back]
            )
        assert self.conv.bias is not None
        return F.silu(torch.stack(taps).sum(0) + self.conv.bias)


class EchoLayer(nn.Module):
    """A filter over frequencies, a mixer in each direction, a gated unit."""

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.EchoMamba) -> None:
        super().__init__()
        self.response = nn.Parameter(torch.zeros(config.frequencies, d_model, 2))
        self.there = build_mixer(mixer, d_model)
        self.back = build_mixer(mixer, d_model)
        self.gate = nn.Linear(d_model, 2 * d_model)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model, eps=_EPS) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, cu_seqlens: Tensor) -> Tensor:
        """``(tokens, d_model) -> (tokens, d_model)``."""
        x = self.norms[0](x + self.dropout(self._filtered(x, cu_seqlens)))
        order = flipped(cu_seqlens, len(x), 0)
        there = mix_packed(self.there, x[None], cu_seqlens)[0]
        back = mix_packed(self.back, x[order][None], cu_seqlens)[0][order]
        x = self.norms[1](x + self.dropout(there + back))
        return self.norms[2](x + self.dropout(F.glu(self.gate(x), dim=-1)))

    def _filtered(self, x: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Each history's spectrum times a response that is learnt between 0 and half a cycle."""
        parts = []
        for own in x.split(cu_seqlens.diff().tolist()):
            spectrum = torch.fft.rfft(own, dim=0, norm="ortho")
            weights = torch.view_as_complex(self._response(len(spectrum)).contiguous())
            parts.append(torch.fft.irfft(spectrum * weights, n=len(own), dim=0, norm="ortho"))
        return torch.cat(parts)

    def _response(self, count: int) -> Tensor:
        """The response at ``count`` frequencies, from those that are learnt, ``(count, d, 2)``."""
        learnt = self.response.flatten(1).T[None]
        at = F.interpolate(learnt, size=count, mode="linear", align_corners=True)
        return at[0].T.unflatten(1, (-1, 2))


class TwoPathNetwork(WindowNetwork):
    """Dropout and norm, then layers of either kind."""

    all_positions = False

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.SIGMA | C.EchoMamba) -> None:
        super().__init__()
        self.d_model, self.max_length = d_model, config.max_length
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(d_model, eps=_EPS)
        layers: list[nn.Module] = [
            SIGMALayer(d_model, mixer, config)
            if isinstance(config, C.SIGMA)
            else EchoLayer(d_model, mixer, config)
            for _ in range(config.layers)
        ]
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`; only rows of last events mean something.

        :raises ValueError: for a history longer than ``max_length``.
        """
        self._check(cu_seqlens)
        x = self.norm(self.dropout(x))
        for layer in self.layers:
            x = layer(x, cu_seqlens)
        return x
