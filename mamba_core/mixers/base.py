"""What every mixer offers, and what those with a scan between two projections share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core.mixers.state import MixerState


class Mixer(nn.Module, ABC):
    """A sequence operator ``(B, L, d_model) -> (B, L, d_model)``; norm and residual are a block's.

    A causal mixer also streams: ``init_state``, then ``prefill`` with any number of tokens and
    ``step`` with one, in any mixture. However a sequence is cut, the outputs and the final
    state are those of one call over the whole.
    """

    causal: bool = True
    """True when no output depends on a later token, so that the mixer can stream."""
    takes_shape: bool = False
    """True for a mixer that reads the grid itself: its ``forward`` takes ``shape``, the sizes of
    the token grid, and no scan order is put around it."""

    @abstractmethod
    def forward(self, x: Tensor, *, cu_seqlens: Tensor | None = None) -> Tensor:
        """Mix whole sequences.

        :param x: ``(B, L, d_model)``; with ``cu_seqlens`` packed, ``(1, sum of L, d_model)``.
        :param cu_seqlens: int ``(sequences + 1,)``, where each packed sequence starts and the
            total; nothing passes from one sequence into the next.
        :returns: a tensor like ``x``.
        """

    def init_state(self, batch_size: int) -> MixerState:
        """Return the state before the first token, on the mixer's device."""
        raise self._cannot_stream()

    def prefill(
        self, x: Tensor, state: MixerState, *, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, MixerState]:
        """Continue sequences by any number of tokens.

        :param x: as for :meth:`forward`.
        :param state: one row per sequence (per packed sequence with ``cu_seqlens``).
        :returns: outputs like ``x`` and the state after the last token.
        """
        raise self._cannot_stream()

    def step(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Continue each sequence by one token.

        :param x: ``(B, d_model)``.
        :returns: ``(B, d_model)`` and the new state.
        """
        y, state = self.prefill(x[:, None], state)
        return y[:, 0], state

    def _cannot_stream(self) -> TypeError:
        return TypeError(
            f"{type(self).__name__} cannot stream: it reads later tokens or keeps no state; "
            "call it on whole sequences, or build the task with a causal mixer and order"
        )


class ScanMixer(Mixer):
    """A mixer made of an input projection, a scan, and an output projection.

    The three parts are called one by one by :class:`~mamba_core.mixers.MultiScan`, which puts
    several scans between one pair of projections, and by dense connections, which add to what
    the scan writes into its state. What :meth:`project` hands to :meth:`scan` is the mixer's
    own affair; its ``inputs`` are in token order with layout ``(B, L, channels)``.
    """

    @abstractmethod
    def project(self, x: Tensor) -> tuple[Any, Tensor]:
        """``(B, L, d_model)`` -> the scan's inputs and the gate ``(B, L, d_inner)``."""

    @abstractmethod
    def scan(
        self,
        inputs: Any,
        *,
        order: Tensor | None = None,
        paths: Sequence[Any] = (),
        cu_seqlens: Tensor | None = None,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> tuple[Tensor, MixerState | None]:
        """Run convolution and recurrence; all paths in one call of each op.

        :param inputs: with ``order`` also ``(B, K, L, channels)``, each path's own.
        :param order: int64 ``(K, L)`` or ``(B, K, L)``.
        :param paths: what reads each of the K paths: this mixer, or what :meth:`make_path`
            returned. Empty when this one's parameters are for all.
        :returns: ``(B, L, d_inner)`` in token order, with ``order`` ``(B, K, L, d_inner)``;
            and the final state when ``return_state``.
        """

    @abstractmethod
    def combine(self, y: Tensor, gate: Tensor) -> Tensor:
        """Gate, norm and output projection: two ``(B, L, d_inner)`` -> ``(B, L, d_model)``."""

    @abstractmethod
    def scan_step(self, inputs: Any, state: MixerState) -> tuple[Tensor, MixerState]:
        """:meth:`scan` for inputs of one token, by the ops made for decoding."""

    @abstractmethod
    def make_path(self) -> nn.Module:
        """Return a further scan with parameters of its own, with this mixer's :meth:`scan`."""

    @abstractmethod
    def written(self, inputs: Any) -> Tensor:
        """Return the part of the inputs that is written into the state, ``(B, L, channels)``."""

    @abstractmethod
    def with_written(self, inputs: Any, written: Tensor) -> Any:
        """Return ``inputs`` with that part replaced."""

    def forward(self, x: Tensor, *, cu_seqlens: Tensor | None = None) -> Tensor:
        """See :meth:`Mixer.forward`."""
        inputs, gate = self.project(x)
        return self.combine(self.scan(inputs, cu_seqlens=cu_seqlens)[0], gate)

    def prefill(
        self, x: Tensor, state: MixerState, *, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, MixerState]:
        """See :meth:`Mixer.prefill`."""
        inputs, gate = self.project(x)
        y, after = self.scan(inputs, cu_seqlens=cu_seqlens, state=state, return_state=True)
        assert after is not None
        return self.combine(y, gate), after

    def step(self, x: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`Mixer.step`."""
        inputs, gate = self.project(x[:, None])
        y, after = self.scan_step(inputs, state)
        return self.combine(y, gate)[:, 0], after


def stacked(paths: Sequence[Any], parameter: Callable[[Any], Tensor | None]) -> Any:
    """Return one parameter of all paths, ``(K, ...)``, or of the only one as it is."""
    values = [parameter(path) for path in paths]
    if len(values) == 1 or values[0] is None:
        return values[0]
    return torch.stack(values)  # type: ignore[arg-type]
