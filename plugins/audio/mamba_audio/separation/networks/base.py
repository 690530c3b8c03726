"""What the networks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerState, MultiScanConfig

if TYPE_CHECKING:
    from mamba_audio.separation.config import SeparatorConfig


class Network(nn.Module, ABC):
    """Makes the frames of every source from the frames of the mixture.

    Built from its own config and the separator's. One that is causal may also stream.
    """

    def __init__(self, network: Any, config: SeparatorConfig) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """``(B, ..., frames) -> (B, sources, ..., frames)``, with what lies between unchanged."""

    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first frame.

        :raises TypeError: for a network that cannot stream.
        """
        raise TypeError(
            f"{type(self).__name__} cannot stream: build the model with causal=True and a "
            "network of kind single_path, dual_path, conv_tasnet or dprnn"
        )

    def prefill(self, frames: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue by any number of frames; see :meth:`forward`."""
        raise NotImplementedError


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
