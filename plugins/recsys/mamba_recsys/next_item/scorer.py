"""A trained model where histories are scored: evaluation and recommending share it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mamba_core.mixers import MixerState
from mamba_recsys.interactions import Contexts, Interactions
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.ragged import edges


class ModelScorer:
    """Scores a catalogue by a model.

    :param model: in eval mode; the scorer keeps its item vectors, so make a new one when the
        weights change.
    :param max_length: events that are read of each context; None reads all.
    """

    def __init__(self, model: NextItemModel, max_length: int | None) -> None:
        self.model, self.max_length = model, max_length
        self.item_vectors = model.item_vectors().detach()

    def read(self, contexts: Contexts) -> MixerState:
        """Return the state behind each context; without an event it is the start."""
        return read_contexts(self.model, contexts.latest(self.max_length))

    def vectors(self, contexts: Contexts) -> Tensor:
        """Return the users' vectors, ``(users, d_model)``."""
        return self.read(contexts).tensors["hidden"]

    def scores(self, contexts: Contexts) -> Tensor:
        """Return ``(users, items)``."""
        return self.vectors(contexts) @ self.item_vectors.T


def read_contexts(
    model: NextItemModel, contexts: Contexts, state: MixerState | None = None
) -> MixerState:
    """Read events with a model, continuing ``state``; None starts anew.

    :param contexts: one per row of the state; some may be empty.
    """
    device = model.item_embedding.weight.device
    state = model.init_state(len(contexts)) if state is None else state
    columns = model.config.event_features
    packed = gather(contexts)
    items, times, codes, numbers = (torch.from_numpy(a).to(device) for a in packed)
    lengths = torch.from_numpy(contexts.stops - contexts.starts)
    own = bool(columns.categories or columns.numbers)
    return model.read(
        items,
        times,
        edges(lengths).to(device),
        state,
        codes if own else None,
        numbers if own else None,
    )


def gather(contexts: Contexts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return items, times, codes and numbers of all contexts, end to end."""
    data: Interactions = contexts.data
    pieces = [np.arange(a, b) for a, b in zip(contexts.starts, contexts.stops, strict=True)]
    rows = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)
    return data.items[rows], data.times[rows], data.codes[rows], data.numbers[rows]
