"""The core's stack of mixers, as a network of ``rec-next``."""

from __future__ import annotations

from torch import Tensor, nn

from mamba_core.blocks import Backbone, BackboneConfig
from mamba_core.mixers import MixerChoice, MixerState
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import SequenceNetwork
from mamba_recsys.ragged import last, one_each


class StackNetwork(SequenceNetwork):
    """A causal :class:`~mamba_core.blocks.Backbone` between two dropouts."""

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.Stack) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.backbone = Backbone(
            BackboneConfig(d_model=d_model, pattern=config.pattern * config.depth, mixer=mixer)
        )

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`."""
        y = self.backbone(self.dropout(x)[None], cu_seqlens=cu_seqlens)
        return self.dropout(y[0])

    def init_state(self, users: int) -> MixerState:
        """The backbone's state."""
        return self.backbone.init_state(users)

    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`SequenceNetwork.read`; one event each goes by the mixers' steps."""
        x = self.dropout(x)
        if one_each(cu_seqlens):
            return self.backbone.step(x, state)
        y, state = self.backbone.prefill(x[None], state, cu_seqlens=cu_seqlens)
        return last(y[0], cu_seqlens)[0], state
