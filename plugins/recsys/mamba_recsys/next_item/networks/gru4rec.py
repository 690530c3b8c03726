"""GRU4Rec (Hidasi et al., 1511.06939): a recurrent state, as long as a gated unit keeps it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import rnn

from mamba_core.mixers import MixerState
from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import SequenceNetwork
from mamba_recsys.ragged import edges, last, pad, unpad


def run_gru(gru: nn.GRU, x: Tensor, cu_seqlens: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run a unit over packed histories, none of them empty.

    :param x: ``(tokens, features)``.
    :param h: ``(layers, histories, hidden)`` to begin with, or None for zeros.
    :returns: outputs ``(tokens, hidden)``, and the last states.
    """
    lengths = cu_seqlens.diff().long().cpu()
    rows = rnn.pack_padded_sequence(
        pad(x, cu_seqlens), lengths, batch_first=True, enforce_sorted=False
    )
    packed, h = gru(rows, h)
    y, _ = rnn.pad_packed_sequence(packed, batch_first=True)
    return unpad(y, cu_seqlens), h


class GRU4RecNetwork(SequenceNetwork):
    """Gated recurrent units, then a map back to the items' width."""

    def __init__(self, d_model: int, config: C.GRU4Rec) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        between = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(
            d_model, config.d_hidden, config.layers, batch_first=True, dropout=between
        )
        self.out_proj = nn.Linear(config.d_hidden, d_model)

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`."""
        return self._run(x, cu_seqlens, None)[0]

    def _run(self, x: Tensor, cu_seqlens: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        """All outputs ``(tokens, d_model)`` and the last states ``(layers, histories, hidden)``."""
        y, h = run_gru(self.gru, self.dropout(x), cu_seqlens, h)
        return self.out_proj(y), h

    def init_state(self, users: int) -> MixerState:
        """Zeros, ``(users, layers, d_hidden)``."""
        weight = self.out_proj.weight
        return MixerState({"h": weight.new_zeros(users, self.gru.num_layers, self.gru.hidden_size)})

    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`SequenceNetwork.read`."""
        h = state.tensors["h"].transpose(0, 1).clone()
        some = cu_seqlens.diff() > 0  # torch's packing knows no empty sequence
        y = x.new_zeros(len(some), x.shape[-1])
        if bool(some.any()):
            own = edges(cu_seqlens.diff()[some])
            outputs, after = self._run(x, own, h[:, some].contiguous())
            y[some] = last(outputs, own)[0]
            h[:, some] = after
        return y, MixerState({"h": h.transpose(0, 1).contiguous()})
