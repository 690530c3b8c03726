"""What every network offers, and what those with a window of events share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from mamba_core.mixers import MixerState
from mamba_recsys.ragged import edges, last, pad, places


class SequenceNetwork(nn.Module, ABC):
    """A map of packed histories; a causal one says nothing that depends on a later event."""

    all_positions: bool = True
    """True when :meth:`forward` means something at every event, so that all are trained at once;
    False when only behind the last one, which then is trained on prefixes."""

    @abstractmethod
    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Read whole histories, all positions at once.

        :param x: ``(tokens, d_model)``, histories end to end.
        :param times: float64 ``(tokens,)``, seconds.
        :param cu_seqlens: int32 ``(histories + 1,)``.
        :returns: ``(tokens, d_model)``.
        """

    @abstractmethod
    def init_state(self, users: int) -> MixerState:
        """Return the state before the first event, one row per user."""

    @abstractmethod
    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """Continue histories by any number of events each.

        :returns: what :meth:`forward` says after the last event of each, ``(users, d_model)``
            (rows without an event hold anything), and the new state.
        """


class WindowNetwork(SequenceNetwork):
    """A network that reads the last ``max_length`` events again whenever one arrives.

    Its state is that window. Longer histories are an error in :meth:`forward`: every position
    would need a window of its own.
    """

    max_length: int
    d_model: int

    def _check(self, cu_seqlens: Tensor) -> None:
        longest = int(cu_seqlens.diff().max())
        if longest > self.max_length:
            raise ValueError(
                f"a history of {longest} events for network.max_length = {self.max_length}: cut "
                "it (data.max_length), or build the network longer"
            )

    def init_state(self, users: int) -> MixerState:
        """An empty window; ``length`` counts its events."""
        weight = next(self.parameters())
        return MixerState(
            {
                "window": weight.new_zeros(users, self.max_length, self.d_model),
                "times": torch.zeros(
                    users, self.max_length, dtype=torch.float64, device=weight.device
                ),
                "length": torch.zeros(users, dtype=torch.int64, device=weight.device),
            }
        )

    def read(
        self, x: Tensor, times: Tensor, cu_seqlens: Tensor, state: MixerState
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`SequenceNetwork.read`."""
        held = state.tensors
        lengths = held["length"] + cu_seqlens.diff()
        joined = edges(lengths)
        total = int(joined[-1])
        sequence, step = places(joined, total)
        old = step < held["length"][sequence]
        # each user's old events, then the new ones
        tokens = x.new_empty(total, self.d_model)
        moments = times.new_empty(total)
        tokens[old] = held["window"][sequence[old], step[old]].to(x)
        moments[old] = held["times"][sequence[old], step[old]]
        tokens[~old], moments[~old] = x, times
        keep = step >= (lengths - self.max_length)[sequence]
        tokens, moments = tokens[keep], moments[keep]
        kept = edges(lengths.clamp(max=self.max_length))
        some = edges(kept.diff()[kept.diff() > 0])  # empty windows are no sequences
        y = self.forward(tokens, moments, some) if len(tokens) else tokens
        after = self.init_state(len(lengths)).tensors
        rows = places(kept, len(tokens))
        after["window"][rows], after["times"][rows] = tokens, moments
        state = MixerState({**after, "length": kept.diff().long()})
        return (last(y, kept)[0] if len(tokens) else x.new_zeros(len(lengths), self.d_model)), state


class PaddedNetwork(WindowNetwork):
    """A window network that works on padded rows; causal, so that padding is never read."""

    @abstractmethod
    def encode(self, rows: Tensor, times: Tensor) -> Tensor:
        """``(histories, longest, d_model)``, zeros behind -> the same; ``times`` without d."""

    def forward(self, x: Tensor, times: Tensor, cu_seqlens: Tensor) -> Tensor:
        """See :meth:`SequenceNetwork.forward`.

        :raises ValueError: for a history longer than ``max_length``.
        """
        self._check(cu_seqlens)
        y = self.encode(pad(x, cu_seqlens), pad(times, cu_seqlens))
        return y[places(cu_seqlens, x.shape[0])]
