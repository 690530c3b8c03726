"""Pre-norm mixers with residuals, as Mamba itself stacks them (Gu and Dao, 2312.00752)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from mamba_core.mixers import Mixer, MixerChoice, MixerState, build_mixer
from mamba_core.mixers.packed import mix_packed
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import SequenceNetwork
from mamba_recsys.ragged import last, one_each

_STD = 0.02
"""Of the weights that write into the residual stream."""

Mix = Callable[[Mixer, Tensor, MixerState], tuple[Tensor, MixerState]]


class PreNormLayer(nn.Module):
    """``x + dropout(mixer(norm(x)))``."""

    def __init__(self, d_model: int, mixer: MixerChoice, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.mixer = build_mixer(mixer, d_model)
        self.dropout = nn.Dropout(dropout)
        # item vectors start as small: a loud mixer would drown the item that was just read
        nn.init.normal_(self.mixer.out_proj.weight, std=_STD)  # type: ignore[arg-type,union-attr]


class PreNormNetwork(SequenceNetwork):
    """Dropout, the layers, and a last norm.

    The residual leads from the item just read to the scores by the same vectors: which item
    follows which is learnt before the mixer says anything.
    """

    def __init__(self, d_model: int, mixer: MixerChoice, config: C.PreNorm) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            PreNormLayer(d_model, mixer, config.mixer_dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`."""
        x = self.dropout(x)[None]
        for layer in self.layers:
            mixed = mix_packed(layer.mixer, layer.norm(x), cu_seqlens)  # type: ignore[operator,arg-type]
            x = x + layer.dropout(mixed)  # type: ignore[operator]
        return self.norm(x[0])

    def init_state(self, users: int) -> MixerState:
        """The mixers' states, a child each."""
        return MixerState(children=tuple(layer.mixer.init_state(users) for layer in self.layers))  # type: ignore[union-attr,operator]

    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`SequenceNetwork.read`; one event each goes by the mixers' steps."""
        x = self.dropout(x)
        if one_each(cu_seqlens):
            x, state = self._continue(x, state, lambda mixer, y, held: mixer.step(y, held))
            return self.norm(x), state
        x, state = self._continue(
            x[None], state, lambda mixer, y, held: mixer.prefill(y, held, cu_seqlens=cu_seqlens)
        )
        return self.norm(last(x[0], cu_seqlens)[0]), state

    def _continue(self, x: Tensor, state: MixerState, mix: Mix) -> tuple[Tensor, MixerState]:
        """All layers, each mixer continued by ``mix``."""
        states = []
        for layer, child in zip(self.layers, state.children, strict=True):
            mixed, after = mix(layer.mixer, layer.norm(x), child)  # type: ignore[arg-type,operator]
            x = x + layer.dropout(mixed)  # type: ignore[operator]
            states.append(after)
        return x, MixerState(children=tuple(states))
