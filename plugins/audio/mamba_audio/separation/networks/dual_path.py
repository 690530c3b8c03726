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

from mamba_audio.separation.networks.base import Masker, floor, make_backbone
from mamba_audio.separation.networks.chunk_layer import ChunkLayer
from mamba_audio.separation.networks.norms import EPS
from mamba_core.config import STRICT
from mamba_core.mixers import MixerState

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

    :param norm: over ``(B, filters, frames)``; in a causal network of every frame by itself.
    """

    def __init__(
        self,
        network: DualPath | DPRNN,
        config: SeparatorConfig,
        norm: nn.Module,
        layers: list[ChunkLayer],
    ) -> None:
        super().__init__(network, config)
        n, d = network.filters, network.d_model
        self.floor: Tensor
        self.sources, self.chunk = config.sources, network.chunk
        self.norm = norm
        self.bottleneck = nn.Conv1d(n, d, 1, bias=False)
        self.layers = nn.ModuleList(layers)
        self.activation = nn.PReLU()
        self.split = nn.Linear(d, config.sources * d)
        self.value, self.gate = nn.Conv1d(d, d, 1), nn.Conv1d(d, d, 1)
        self.mask = nn.Conv1d(d, n, 1, bias=False)
        # added to every token, because those of the padding are zero whatever was learned
        self.register_buffer("floor", floor(d), persistent=False)

    def masks(self, frames: Tensor) -> Tensor:
        """See :meth:`Masker.masks`."""
        x = cut(self._tokens(frames), self.chunk) + self.floor
        for layer in self.layers:
            x = layer(x)
        return self._weights(join(self._split(x).flatten(0, 1), frames.shape[-1]))

    def init_state(self, batch_size: int) -> MixerState:
        """See :meth:`Network.init_state`: the half of the first chunk that lies before all frames
        is read already, padding as in :meth:`masks`."""
        hop, weight = self.chunk // 2, self.bottleneck.weight
        layers = tuple(layer.init_state(batch_size, self.chunk) for layer in self._layers())
        before = self.floor.expand(batch_size, 1, hop, -1)
        _, layers = self._read(before, torch.arange(hop, device=weight.device), layers)
        place = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return MixerState({"place": place}, self._next_chunk(layers))

    def prefill(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`Network.prefill`."""
        hop, layers, found = self.chunk // 2, state.children, []
        place = int(state.tensors["place"][0])
        tokens = self._tokens(frames).transpose(1, 2) + self.floor
        while tokens.shape[1]:
            piece, tokens = tokens[:, : hop - place], tokens[:, hop - place :]
            stop = place + piece.shape[1]
            places = torch.arange(place, stop, device=tokens.device)
            # the older chunk is in its second half, the newer one in its first
            both = piece[:, None].expand(-1, 2, -1, -1)
            x, layers = self._read(both, torch.cat([hop + places, places]), layers)
            found.append(self._split(x).sum(2))
            place = stop % hop
            if place == 0:
                layers = self._next_chunk(layers)
        after = torch.full_like(state.tensors["place"], place)
        weights = self._weights(torch.cat(found, dim=2).flatten(0, 1).transpose(1, 2))
        return weights * frames[:, None], MixerState({"place": after}, layers)

    def _tokens(self, frames: Tensor) -> Tensor:
        return self.bottleneck(self.norm(frames))

    def _layers(self) -> list[ChunkLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _read(
        self, x: Tensor, places: Tensor, states: tuple[MixerState, ...]
    ) -> tuple[Tensor, tuple[MixerState, ...]]:
        after = []
        for layer, state in zip(self._layers(), states, strict=True):
            x, state = layer.prefill(x, places, state)
            after.append(state)
        return x, tuple(after)

    def _next_chunk(self, states: tuple[MixerState, ...]) -> tuple[MixerState, ...]:
        pairs = zip(self._layers(), states, strict=True)
        return tuple(layer.next_chunk(state) for layer, state in pairs)

    def _split(self, x: Tensor) -> Tensor:
        """``(B, chunks, frames, d) -> (B, sources, chunks, frames, d)``."""
        return self.split(self.activation(x)).unflatten(-1, (self.sources, -1)).movedim(3, 1)

    def _weights(self, y: Tensor) -> Tensor:
        """``(B * sources, d, frames) -> (B, sources, filters, frames)``."""
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
        layers: list[ChunkLayer] = [_Layer(network, config) for _ in range(network.depth)]
        super().__init__(network, config, FrameNorm(network.filters), layers)


class _Layer(ChunkLayer):
    """A mixer inside the chunks, then one across them with a skip around it."""

    def __init__(self, network: DualPath, config: SeparatorConfig) -> None:
        d = network.d_model
        super().__init__(make_backbone(config, d, 1), make_backbone(config, d, 1))
        self.norm_inside, self.norm_across = nn.LayerNorm(d), nn.LayerNorm(d)

    def after_inside(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`ChunkLayer.after_inside`."""
        return self.norm_inside(y)

    def after_across(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`ChunkLayer.after_inside`."""
        return x + self.norm_across(y)


class FrameNorm(nn.LayerNorm):
    """LayerNorm over the channels of each frame, ``(B, channels, frames)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, input: Tensor) -> Tensor:
        """Norm every frame by itself."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)
