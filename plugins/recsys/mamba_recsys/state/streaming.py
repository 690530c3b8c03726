"""What a fitted recommender does with users' states: start, update, the best items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mamba_core.mixers import MixerState
from mamba_recsys.frame import as_pandas
from mamba_recsys.items import Items
from mamba_recsys.ragged import edges
from mamba_recsys.state.user_state import (
    OutOfOrderError,
    StaleStateError,
    StateError,
    UserState,
    as_seconds,
)

Answer = list[tuple[Any, float]]
"""Items and their scores, falling."""


class Streaming(Items):
    """The part of ``Recommender`` that is about states."""

    def start(self, users: int = 1) -> UserState:
        """Return the state before the first event, a row per user.

        :raises StateError: for fewer than no users.
        """
        fitted = self.fitted
        if users < 0:
            raise StateError(f"users = {users} must be 0 or more")
        return UserState(fitted.model.init_state(users), np.full(users, -np.inf), fitted.key)

    def update(
        self,
        state: UserState,
        item: Any,
        ts: Any = None,
        *,
        features: Any = None,
    ) -> UserState:
        """Move a state on by one event of each user, in place, in constant time.

        :param item: a raw id; for several users a list of them, one each.
        :param ts: its time, or a list of them; None is the time of the event before.
        :param features: a table (pandas, polars) with a row per user and the event's columns, for
            a model that reads such.
        :returns: the same state.
        :raises StaleStateError: for a state of another model.
        :raises UnknownItemError: for an item that the catalogue does not hold.
        :raises OutOfOrderError: for an event before the last one that was read.
        """
        items = list(item) if _are_many(item) else [item]
        moments = list(ts) if _are_many(ts) else [ts] * len(items)
        if len(items) != len(state) or len(moments) != len(state):
            raise StateError(
                f"{len(items)} items and {len(moments)} times for a state of {len(state)} users"
            )
        rows = range(len(state))
        return self.replay(state, rows, items, moments, features=features)

    def replay(
        self,
        state: UserState,
        rows: Iterable[int],
        items: Sequence[Any],
        times: Sequence[Any],
        *,
        features: Any = None,
    ) -> UserState:
        """Move a state on by any number of events, at once; equal to one :meth:`update` each.

        :param rows: whose event each is, ``(events,)``; the events of one user are in order.
        :param items, times: raw ids and times, ``(events,)``.
        :returns: the same state; it is as before when an error is raised.
        """
        fitted = self.fitted
        if state.key != fitted.key:
            raise StaleStateError(
                f"the state is of model {state.key}, this is {fitted.key}: start anew and replay "
                "the user's events"
            )
        who = np.fromiter(rows, dtype=np.int64)
        order = np.argsort(who, kind="stable")
        numbers = fitted.catalogue.known(items)[order]
        moments, last = _in_order(state, who[order], [times[i] for i in order])
        codes, columns = fitted.event_columns.encode(_table(features, len(who)), "features")
        own = bool(fitted.event_columns)
        lengths = torch.from_numpy(np.bincount(who, minlength=len(state)))
        state.mixer = fitted.model.read(
            torch.from_numpy(numbers),
            torch.from_numpy(moments),
            edges(lengths),
            state.mixer,
            torch.from_numpy(codes[order]) if own else None,
            torch.from_numpy(columns[order]) if own else None,
        )
        state.times = last
        return state

    def topk(
        self,
        state: UserState,
        k: int = 10,
        *,
        exclude: Sequence[Iterable[Any]] | None = None,
        allow: Iterable[Any] | None = None,
    ) -> list[Answer]:
        """Return the best items behind each user's last event.

        A state does not hold what was seen: give it in ``exclude`` to leave it out.

        :param exclude: raw ids for each user; unknown ones are no candidates anyway.
        :param allow: only these items, for everybody.
        :returns: for each user ``(item, score)``, falling; popular items before the first event
            where the model has no registers.
        """
        fitted = self.fitted
        self._check_k(k)
        if state.key != fitted.key:
            raise StaleStateError(f"the state is of model {state.key}, this is {fitted.key}")
        seen = None if exclude is None else [self._numbers(ids, "skip") for ids in exclude]
        if seen is not None and len(seen) != len(state):
            raise StateError(f"exclude has {len(seen)} lists for {len(state)} users")
        empty = (state.counts == 0) & (fitted.model.registers is None)
        best = self._best(_hidden(state.mixer), k, seen, self._allowed(allow, ()), empty)
        answers = []
        for scores, numbers in zip(*(part.tolist() for part in best), strict=True):
            pairs = zip(fitted.catalogue.ids[numbers].tolist(), scores, strict=True)
            answers.append([(item, score) for item, score in pairs if score != -np.inf])
        return answers


def _are_many(value: Any) -> bool:
    """Whether it is a list, an array or a column, and not one id or moment."""
    return isinstance(value, Iterable) and not isinstance(value, str)


def _hidden(mixer: MixerState) -> torch.Tensor:
    return mixer.tensors["hidden"]


def _table(features: Any, rows: int) -> pd.DataFrame:
    if features is None:
        return pd.DataFrame(index=range(rows))
    table = as_pandas(features)[0]
    if len(table) != rows:
        raise StateError(f"features has {len(table)} rows for {rows} events")
    return table


def _in_order(
    state: UserState, who: NDArray[np.int64], times: Sequence[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of events sorted by user, and of each user's last one.

    :raises OutOfOrderError: naming the first event that is too early.
    """
    last = state.times.copy()
    moments = np.zeros(len(who))
    for at, (user, time) in enumerate(zip(who.tolist(), times, strict=True)):
        before = float(last[user])
        now = (before if np.isfinite(before) else 0.0) if time is None else as_seconds(time)
        if now < before:
            raise OutOfOrderError(
                f"an event at {now:.15g} after one at {before:.15g}: a state cannot go back; "
                "replay the user's events in order"
            )
        moments[at] = last[user] = now
    return moments, last
