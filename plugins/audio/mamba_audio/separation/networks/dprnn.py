"""DPRNN (Luo et al., 1910.06379): the dual path with LSTMs, a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mamba_audio.separation.networks.dual_path import ChunkedMasker, FrameNorm
from mamba_audio.separation.networks.norms import GlobalNorm
from mamba_core.config import STRICT

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
        layers: list[nn.Module] = [_Layer(network, config.causal) for _ in range(network.depth)]
        norm = (FrameNorm if config.causal else GlobalNorm)(network.filters)
        super().__init__(network, config, norm, layers)


class _Layer(nn.Module):
    """An LSTM inside the chunks, then one across them, both with a skip."""

    def __init__(self, network: DPRNN, causal: bool) -> None:
        super().__init__()
        self.inside, self.across = _Path(network, causal), _Path(network, causal)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, chunks, chunk, d_model)``."""
        x = x + self.inside(x)
        return x + self.across(x.transpose(1, 2)).transpose(1, 2)


class _Path(nn.Module):
    """``LSTM -> Linear -> norm`` along the last but one axis."""

    def __init__(self, network: DPRNN, causal: bool) -> None:
        super().__init__()
        d, h = network.d_model, network.hidden
        self.lstm = nn.LSTM(d, h, batch_first=True, bidirectional=not causal)
        self.project = nn.Linear(h if causal else 2 * h, d)
        self.norm: nn.Module = nn.LayerNorm(d) if causal else GlobalNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, rows, steps, d_model)``, every row read by itself."""
        y, _ = self.lstm(x.flatten(0, 1))
        y = self.project(y).unflatten(0, x.shape[:2])
        if isinstance(self.norm, GlobalNorm):
            return self.norm(y.movedim(-1, 1)).movedim(1, -1)
        return self.norm(y)
