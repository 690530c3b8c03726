"""What the networks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerState, MultiScanConfig

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


FLOOR = 0.1
"""Small beside tokens, whose deviation is about 1."""


def floor(size: int) -> Tensor:
    """Return :data:`FLOOR` with alternating signs, ``(size,)``: what silence has instead of zeros.

    A token that is zero stays so through all layers of mixers, and each of their norms multiplies
    its gradient by 1 / sqrt(eps): past the largest float after a few layers.
    """
    signs = 1 - 2 * (torch.arange(size) % 2)
    return FLOOR * signs


class Network(nn.Module, ABC):
    """Makes the frames of every source from the frames of the mixture.

    Built from its own config and the separator's. One that is causal also streams.
    """

    def __init__(self, network: Any, config: SeparatorConfig) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """``(B, ..., frames) -> (B, sources, ..., frames)``, with what lies between unchanged."""

    @abstractmethod
    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first frame; the network is causal.

        :raises TypeError: for a network that cannot stream even so.
        """

    @abstractmethod
    def prefill(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue by one frame or more; see :meth:`forward`."""


class Masker(Network):
    """A network that weighs the mixture's own frames."""

    @abstractmethod
    def masks(self, frames: Tensor) -> Tensor:
        """``(B, filters, frames) -> (B, sources, filters, frames)``, not negative."""

    def forward(self, frames: Tensor) -> Tensor:
        """See :meth:`Network.forward`."""
        return self.masks(frames) * frames[:, None]


def make_backbone(config: SeparatorConfig, d_model: int, depth: int) -> Backbone:
    """Return ``depth`` mixer layers that read tokens as the config says.

    A causal stack reads once, forward: several paths are never causal, whatever their order.
    """
    scan = MultiScanConfig(scan_order=config.scan_order, merge=config.merge)
    return Backbone(
        BackboneConfig(
            d_model=d_model,
            pattern="M" * depth,
            mixer=config.mixer,
            scan=None if config.causal else scan,
        )
    )


def flat_rows(state: MixerState) -> MixerState:
    """Tensors ``(B, rows, ...)`` -> ``(B * rows, ...)``, for readers of many rows per item."""
    return state.map(lambda held: held.flatten(0, 1))


def by_batch(state: MixerState, batch_size: int) -> MixerState:
    """Tensors ``(B * rows, ...)`` -> ``(B, rows, ...)``: a state holds one row per item."""
    return state.map(lambda held: held.unflatten(0, (batch_size, -1)))
