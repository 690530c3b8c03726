"""Mamba-TasNet (Jiang et al., 2407.09732): one stack reads all frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_audio.separation.networks.base import Masker, floor, make_backbone
from mamba_audio.separation.networks.norms import EPS
from mamba_core.config import STRICT
from mamba_core.mixers import MixerState

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SinglePath:
    """Mamba-TasNet: a stack of mixers over all frames."""

    kind: Literal["single_path"] = "single_path"
    """Which network this is."""
    filters: Annotated[int, Field(ge=1)] = 256
    """Channels of the learned encoder and decoder."""
    d_model: Annotated[int, Field(ge=1)] = 256
    """Channels of the tokens, one token per frame."""
    depth: Annotated[int, Field(ge=1)] = 16
    """Mixer layers."""


class SinglePathMasker(Masker):
    """``LayerNorm -> bottleneck -> Backbone -> mask -> ReLU``; nothing looks across frames but
    the mixers."""

    def __init__(self, network: SinglePath, config: SeparatorConfig) -> None:
        super().__init__(network, config)
        n, d = network.filters, network.d_model
        self.sources = config.sources
        # a causal model gets soft recordings as they are: 1e-5 would not let them through
        self.norm = nn.LayerNorm(n, eps=EPS if config.causal else 1e-5)
        with torch.no_grad():  # what the tokens of silence are made of
            self.norm.bias.copy_(floor(n))
        self.bottleneck = nn.Linear(n, d, bias=False)
        self.backbone = make_backbone(config, d, network.depth)
        self.mask = nn.Linear(d, config.sources * n, bias=False)

    def masks(self, frames: Tensor) -> Tensor:
        """See :meth:`Masker.masks`."""
        return self._weights(self.backbone(self._tokens(frames)))

    def init_state(self, batch_size: int) -> MixerState:
        """See :meth:`Network.init_state`."""
        return self.backbone.init_state(batch_size)

    def prefill(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`Network.prefill`."""
        tokens, state = self.backbone.prefill(self._tokens(frames), state)
        return self._weights(tokens) * frames[:, None], state

    def _tokens(self, frames: Tensor) -> Tensor:
        return self.bottleneck(self.norm(frames.transpose(1, 2)))

    def _weights(self, tokens: Tensor) -> Tensor:
        masks = F.relu(self.mask(tokens))
        return masks.unflatten(-1, (self.sources, -1)).permute(0, 2, 3, 1)
