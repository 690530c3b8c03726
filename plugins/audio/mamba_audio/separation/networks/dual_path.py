"""Dual path: mix inside chunks of frames, then across chunks (Luo et al., 1910.06379).

With mixers it is DPMamba (Jiang et al., 2403.18257); ``dprnn.py`` puts LSTMs in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_audio.separation.networks.base import Masker, make_backbone
from mamba_audio.separation.networks.norms import EPS
from mamba_core.config import STRICT

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig
    from mamba_audio.separation.networks.dprnn import DPRNN


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DualPath:
    """DPMamba: mixers inside chunks of frames and across them, in turns."""

    kind: Literal["dual_path"] = "dual_path"
    """Which network this is."""
    filters: Annotated[int, Field(ge=1)] = 256
    """Channels of the learned encoder and decoder."""
    d_model: Annotated[int, Field(ge=1)] = 256
    """Channels of the tokens, one token per frame and chunk."""
    depth: Annotated[int, Field(ge=1)] = 8
    """Layers, each with one mixer inside and one across chunks."""
    chunk: Annotated[int, Field(ge=2, multiple_of=2)] = 250
    """Frames of a chunk; half of them belong to the next one too."""


class ChunkedMasker(Masker):
    """``norm -> bottleneck -> chunks -> layers -> back to frames -> gate -> mask -> ReLU``.

    Every frame lies in two chunks, whose results are added.

    :param layers: each maps ``(B, chunks, frames of a chunk, d_model)`` to its like.
    """

    def __init__(
        self,
        network: DualPath | DPRNN,
        config: SeparatorConfig,
        norm: nn.Module,
        layers: list[nn.Module],
    ) -> None:
        super().__init__(network, config)
        n, d = network.filters, network.d_model
        self.sources, self.chunk = config.sources, network.chunk
        self.norm = norm
        self.bottleneck = nn.Conv1d(n, d, 1, bias=False)
        self.layers = nn.ModuleList(layers)
        self.activation = nn.PReLU()
        self.split = nn.Linear(d, config.sources * d)
        self.value, self.gate = nn.Conv1d(d, d, 1), nn.Conv1d(d, d, 1)
        self.mask = nn.Conv1d(d, n, 1, bias=False)

    def masks(self, frames: Tensor) -> Tensor:
        """See :meth:`Masker.masks`."""
        x = cut(self.bottleneck(self.norm(frames)), self.chunk)
        for layer in self.layers:
            x = layer(x)
        y = self.split(self.activation(x)).unflatten(-1, (self.sources, -1))
        y = join(y.movedim(3, 1).flatten(0, 1), frames.shape[-1])  # one item per source
        y = torch.tanh(self.value(y)) * torch.sigmoid(self.gate(y))
        return F.relu(self.mask(y)).unflatten(0, (-1, self.sources))


def cut(x: Tensor, chunk: int) -> Tensor:
    """Cut ``(B, d, frames)`` into half-overlapping chunks ``(B, chunks, chunk, d)``.

    Zeros in front and behind put every frame into two chunks.
    """
    hop = chunk // 2
    rest = -x.shape[-1] % hop
    return F.pad(x, (hop, rest + hop)).unfold(-1, chunk, hop).permute(0, 2, 3, 1)


def join(x: Tensor, frames: int) -> Tensor:
    """Add the chunks ``(B, chunks, chunk, d)`` of :func:`cut` up to ``(B, d, frames)``."""
    first, second = x.chunk(2, dim=2)
    return (second[:, :-1] + first[:, 1:]).flatten(1, 2)[:, :frames].transpose(1, 2)


class DualPathMasker(ChunkedMasker):
    """DPMamba."""

    def __init__(self, network: DualPath, config: SeparatorConfig) -> None:
        layers: list[nn.Module] = [_Layer(network, config) for _ in range(network.depth)]
        super().__init__(network, config, FrameNorm(network.filters), layers)


class _Layer(nn.Module):
    """A mixer inside the chunks, then one across them with a skip around it."""

    def __init__(self, network: DualPath, config: SeparatorConfig) -> None:
        super().__init__()
        d = network.d_model
        self.inside, self.across = make_backbone(config, d, 1), make_backbone(config, d, 1)
        self.norm_inside, self.norm_across = nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, chunks, chunk, d_model)``."""
        batch, chunks, size, _ = x.shape
        x = self.norm_inside(self.inside(x.flatten(0, 1))).unflatten(0, (batch, chunks))
        y = self.across(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, size))
        return x + self.norm_across(y.transpose(1, 2))


class FrameNorm(nn.LayerNorm):
    """LayerNorm over the channels of each frame, ``(B, channels, frames)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, input: Tensor) -> Tensor:
        """Norm every frame by itself."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)
