"""DPRNN (Luo et al., 1910.06379): the dual path with LSTMs, a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_audio.separation.networks.chunk_layer import ChunkLayer
from mamba_audio.separation.networks.dual_path import ChunkedMasker, FrameNorm
from mamba_audio.separation.networks.norms import GlobalNorm
from mamba_core.config import STRICT
from mamba_core.mixers import MixerState

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DPRNN:
    """DPRNN: LSTMs inside chunks of frames and across them, in turns."""

    kind: Literal["dprnn"] = "dprnn"
    """Which network this is."""
    filters: Annotated[int, Field(ge=1)] = 64
    """Channels of the learned encoder and decoder."""
    d_model: Annotated[int, Field(ge=1)] = 64
    """Channels of the tokens, one token per frame and chunk."""
    hidden: Annotated[int, Field(ge=1)] = 128
    """Channels of an LSTM, per direction."""
    depth: Annotated[int, Field(ge=1)] = 6
    """Layers, each with one LSTM inside and one across chunks."""
    chunk: Annotated[int, Field(ge=2, multiple_of=2)] = 250
    """Frames of a chunk; half of them belong to the next one too."""


class DPRNNMasker(ChunkedMasker):
    """DPRNN; the causal form has LSTMs of one direction and norms per token."""

    def __init__(self, network: DPRNN, config: SeparatorConfig) -> None:
        layers: list[ChunkLayer] = [_Layer(network, config.causal) for _ in range(network.depth)]
        norm = (FrameNorm if config.causal else GlobalNorm)(network.filters)
        super().__init__(network, config, norm, layers)


class _Layer(ChunkLayer):
    """An LSTM inside the chunks, then one across them, both with a norm and a skip."""

    def __init__(self, network: DPRNN, causal: bool) -> None:
        super().__init__(_LSTM(network, causal), _LSTM(network, causal))
        self.norm_inside, self.norm_across = (_norm(network.d_model, causal) for _ in range(2))

    def after_inside(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`ChunkLayer.after_inside`."""
        return x + self.norm_inside(y)

    def after_across(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`ChunkLayer.after_inside`."""
        return x + self.norm_across(y)


class _LSTM(nn.Module):
    """``LSTM -> Linear``, ``(rows, steps, d_model)``; one of one direction also streams."""

    def __init__(self, network: DPRNN, causal: bool) -> None:
        super().__init__()
        d, h = network.d_model, network.hidden
        self.lstm = nn.LSTM(d, h, batch_first=True, bidirectional=not causal)
        self.project = nn.Linear(h if causal else 2 * h, d)

    def forward(self, x: Tensor) -> Tensor:
        """Read every row by itself."""
        return self.project(self.lstm(x)[0])

    def init_state(self, rows: int) -> MixerState:
        """Return zeros, ``(rows, hidden)``."""
        zeros = self.project.weight.new_zeros(rows, self.lstm.hidden_size)
        return MixerState({"hidden": zeros, "cell": zeros})

    def prefill(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue rows."""
        held = state.tensors
        y, (hidden, cell) = self.lstm(x, (held["hidden"][None], held["cell"][None]))
        return self.project(y), MixerState({"hidden": hidden[0], "cell": cell[0]})

    def step(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue each row by one step, ``(rows, d_model)``."""
        y, state = self.prefill(x[:, None], state)
        return y[:, 0], state


class _TokenNorm(GlobalNorm):
    """:class:`GlobalNorm` for tokens with their channels behind."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, ..., d_model)``."""
        return super().forward(x.movedim(-1, 1)).movedim(1, -1)


def _norm(d_model: int, causal: bool) -> nn.Module:
    return nn.LayerNorm(d_model) if causal else _TokenNorm(d_model)
