"""One layer of a dual path: read along every chunk, then across the chunks.

Also its streaming form. Chunks overlap by half, so every frame lies in two of them: it is a later
frame of one chunk and an earlier one of the next. Both are open while the frame arrives, and
reading along either needs nothing but the frames before it; reading across needs, for every place
in a chunk, what earlier chunks had there. So a causal dual path answers frame by frame, and its
state is one row per open chunk and one per place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from mamba_audio.separation.networks.base import by_batch, flat_rows
from mamba_core.mixers import MixerState


class ChunkLayer(nn.Module, ABC):
    """Two readers in turns.

    :param inside: maps ``(rows, steps, d_model)`` to its like, along every chunk. A causal one
        also has ``init_state(rows)`` and ``prefill(x, state)``.
    :param across: the same, from chunk to chunk, for every place in them; a causal one has
        ``step(x, state)`` for one chunk more, ``(rows, d_model)``.
    """

    def __init__(self, inside: nn.Module, across: nn.Module) -> None:
        super().__init__()
        self.inside: Any = inside
        self.across: Any = across

    @abstractmethod
    def after_inside(self, x: Tensor, y: Tensor) -> Tensor:
        """What becomes of the tokens ``x`` and what was read of them, both ``(B, chunks, chunk,
        d_model)``."""

    @abstractmethod
    def after_across(self, x: Tensor, y: Tensor) -> Tensor:
        """See :meth:`after_inside`."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, chunks, chunk, d_model)``."""
        batch, chunks, size, _ = x.shape
        y = self.inside(x.flatten(0, 1)).unflatten(0, (batch, chunks))
        x = self.after_inside(x, y)
        y = self.across(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, size))
        return self.after_across(x, y.transpose(1, 2))

    def init_state(self, batch_size: int, chunk: int) -> MixerState:
        """Return the state before the first chunk: of one open chunk, and of all places."""
        across = by_batch(self.across.init_state(batch_size * chunk), batch_size)
        return MixerState(children=(self._opened(batch_size), across))

    def next_chunk(self, state: MixerState) -> MixerState:
        """Drop the chunk that is complete, keep the one that is half read, open another."""
        inside, across = state.children
        newer = inside.map(lambda held: held[:, -1:])
        return MixerState(children=(_joined(newer, self._opened(_batch_size(across))), across))

    def _opened(self, batch_size: int) -> MixerState:
        """The state of a chunk of which nothing was read, tensors ``(B, 1, ...)``."""
        return by_batch(self.inside.init_state(batch_size), batch_size)

    def prefill(self, x: Tensor, places: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """Read the next frames of the open chunks.

        :param x: ``(B, open chunks, frames, d_model)``.
        :param places: of every token in its chunk, int64 ``(open chunks * frames,)``, all
            different.
        """
        batch, rows, _, _ = x.shape
        inside, across = state.children
        y, inside = self.inside.prefill(x.flatten(0, 1), flat_rows(inside))
        x = self.after_inside(x, y.unflatten(0, (batch, rows)))
        here = across.map(lambda held: held[:, places])
        y, here = self.across.step(x.flatten(0, 2), flat_rows(here))
        x = self.after_across(x, y.view_as(x))
        after = _put(across, places, by_batch(here, batch))
        return x, MixerState(children=(by_batch(inside, batch), after))


def _put(state: MixerState, places: Tensor, new: MixerState) -> MixerState:
    """Return ``state`` with the rows ``places`` of each item replaced."""
    return MixerState(
        {
            name: held.index_copy(1, places, new.tensors[name])
            for name, held in state.tensors.items()
        },
        tuple(
            _put(child, places, after)
            for child, after in zip(state.children, new.children, strict=True)
        ),
    )


def _joined(one: MixerState, other: MixerState) -> MixerState:
    """Return the rows of both, those of ``one`` first."""
    return MixerState(
        {name: torch.cat([held, other.tensors[name]], dim=1) for name, held in one.tensors.items()},
        tuple(_joined(a, b) for a, b in zip(one.children, other.children, strict=True)),
    )


def _batch_size(state: MixerState) -> int:
    return len(next(iter(state.flatten().values())))
