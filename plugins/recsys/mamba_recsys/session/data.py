"""Sessions as samples: all positions of each, to learn from and to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mamba_recsys import interactions as I
from mamba_recsys.interactions import InteractionError, Interactions
from mamba_recsys.next_item.config import NextItemConfig
from mamba_recsys.next_item.data import Sample, TrainSplit, check_items, events, pack
from mamba_recsys.next_item.objective import IGNORE
from mamba_recsys.readers import Columns, read
from mamba_recsys.session.config import SessionData


class SessionDataset:
    """Training, validation and test of ``rec-session``, cut by the sessions' beginnings.

    Targets of validation and test that no training session holds are not counted, as is usual
    for sessions: nothing could be learnt about them.

    :param data: which sessions, and how they are cut.
    :param model: says how many items the model knows.
    :raises FileNotFoundError: for a path without data.
    :raises InteractionError: for data that cannot be used, or another number of items.
    """

    def __init__(self, data: SessionData, model: NextItemConfig) -> None:
        self.data = data
        names, items, times = read(data.path, Columns(data.session, data.item, data.time))
        if times is None:
            raise InteractionError(f"{data.path} has no times: sessions are cut by their beginning")
        if data.gap is not None:
            names = cut_by_pauses(names, times, data.gap)
        self.interactions = I.make_interactions(
            names,
            items,
            times,
            duplicates="keep",
            min_item_events=data.min_item_events,
            min_user_events=data.min_session_events,
        )
        check_items(self.interactions, model, data.path)
        self.parts = I.sessions(
            self.interactions, val_share=data.val_share, test_share=data.test_share
        )

    def train(self, *, seed: int) -> TrainSplit:
        """Return the sessions to learn from."""
        config = self.data
        return TrainSplit(
            self.interactions, self.parts, config.objective, config.max_length, seed=seed
        )

    def val(self, *, seed: int) -> WholeSessions:
        """Return the sessions to choose a model by: the same ones for every ``seed``."""
        return WholeSessions(self.interactions, self.parts.val, self.data.max_length)

    def test(self, *, seed: int) -> WholeSessions:
        """Return the sessions to report: the same ones for every ``seed``."""
        return WholeSessions(self.interactions, self.parts.test, self.data.max_length)


class WholeSessions:
    """Sessions read once each, with the targets behind the events that are read.

    :param places: of all targets.
    """

    def __init__(
        self, data: Interactions, places: NDArray[np.int64], max_length: int | None
    ) -> None:
        self.interactions, self.max_length = data, max_length
        self.sessions = np.unique(I.user_of(data, places))
        self._counted = np.zeros(len(data.items), dtype=bool)
        self._counted[places] = True

    def __len__(self) -> int:
        return len(self.sessions)

    def sample(self, epoch: int, index: int) -> Sample:
        """Return one session's events and ``targets`` int64 ``(events,)``."""
        session = int(self.sessions[index])
        first, last = (int(x) for x in self.interactions.offsets[session : session + 2])
        if self.max_length is not None:
            first = max(first, last - 1 - self.max_length)
        behind = slice(first + 1, last)
        targets = np.where(self._counted[behind], self.interactions.items[behind], IGNORE)
        return events(self.interactions, slice(first, last - 1)) | {
            "targets": torch.from_numpy(targets),
            "lengths": torch.tensor([last - 1 - first]),
        }

    def collate(self, samples: Sequence[Sample]) -> Sample:
        """Pack sessions end to end."""
        return pack(samples)


def cut_by_pauses(
    visitors: NDArray[Any], times: NDArray[np.float64], gap: float
) -> NDArray[np.int64]:
    """Return a session number for each event: a longer pause begins a new one.

    :param visitors: raw ids ``(events,)``, rows in any order.
    :param gap: seconds.
    """
    I.check_ids(visitors, "session")
    _, who = np.unique(visitors, return_inverse=True)
    order = np.lexsort((times, who))
    new = np.ones(len(order), dtype=bool)
    same = who[order][1:] == who[order][:-1]
    new[1:] = ~same | (np.diff(times[order]) > gap)
    sessions = np.empty(len(order), dtype=np.int64)
    sessions[order] = new.cumsum() - 1
    return sessions
