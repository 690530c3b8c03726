"""Users with a life of their own: events come in, states move on, the best items come out."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mamba_core.file_batches import Progress
from mamba_recsys.interactions import InteractionError, user_of
from mamba_recsys.recommender import Recommender
from mamba_recsys.session.recommender import SessionRecommender
from mamba_recsys.state.store import Event, StateStore, UserId
from mamba_recsys.state.streaming import Answer
from mamba_recsys.state.user_state import StaleStateError, StateError, UserState, as_seconds

_AT_ONCE = 64
"""Users whose logs are read again at once."""


@dataclass(frozen=True)
class Applied:
    """What became of some events."""

    accepted: int
    """New ones, in log and states."""
    duplicates: int
    """Those whose id was there before: nothing was done."""
    late: int
    """Of the accepted, those earlier than a user's last one: the user was read again in order."""


class UserStates:
    """States of many users in a store, moved on by events that count once each.

    :param recommender: fitted. A ``SessionRecommender`` makes users sessions: their ids are any
        text, and with its ``gap`` a longer pause starts anew.
    :param store: of events and states.
    """

    def __init__(self, recommender: Recommender, store: StateStore) -> None:
        self.recommender, self.store = recommender, store
        self._lock = threading.Lock()
        sessions = isinstance(recommender, SessionRecommender)
        self.gap = recommender.gap if isinstance(recommender, SessionRecommender) else None
        self._numeric = not sessions and recommender.fitted.data.users.dtype.kind in "iu"

    def user_id(self, text: str) -> UserId:
        """Return a user's id from text, as an address holds it: a number where users have such.

        :raises InteractionError: for text that is no number then.
        """
        if not self._numeric:
            return text
        try:
            return int(text)
        except ValueError:
            raise InteractionError(
                f"user {text!r} is text, ids of users are numbers here"
            ) from None

    def apply(self, events: Sequence[Event]) -> Applied:
        """Take events in; when this returns, they are in the log and in the states.

        :raises InteractionError: for an unknown item, an id of another type, or a column that
            the model reads and an event lacks; then nothing of the call was kept.
        :raises StoreError: when the store fails; then nothing of the call was kept.
        """
        with self._lock:
            known = self.store.known([event.id for event in events])
            new = list({e.id: e for e in reversed(events) if e.id not in known}.values())[::-1]
            if not new:
                return Applied(0, len(events), 0)
            new = self._checked(new)
            users = list(dict.fromkeys(event.user for event in new))
            held = self._held(users)
            late = [e for e in new if e.user in held and e.time < held[e.user].times[0]]
            anew = {e.user for e in late} | self._paused(held, new)
            ready = {user: held[user] for user in users if user not in anew and user in held}
            done = self._advance(ready, new)
            again = [user for user in users if user not in ready]
            done |= self._read_again(again, new)
            self.store.commit(new, {user: state.to_bytes() for user, state in done.items()})
            return Applied(len(new), len(events) - len(new), len(late))

    def recommend(self, user: UserId, k: int = 10, *, filter_seen: bool = True) -> Answer:
        """Return a user's best items; somebody without events gets what is popular.

        :param filter_seen: leave out all items of the user's events, or of the session's.
        """
        with self._lock:
            state = self._current(user)
            seen = None
            if filter_seen:
                seen = [[event.item for event in self._log(user)]]
            return self.recommender.topk(state, k, exclude=seen)[0]

    def replay(self, user: UserId) -> UserState:
        """Return the state that a user's whole log makes, read at once."""
        return self._from_logs([self._log(user)])

    def take_over(self, progress: Progress | None = None) -> int:
        """Put the fitted users' events into an empty store, so that they go on from there.

        Called again, as when a service is started again, it adds what was missing, if anything.

        :param progress: called with ``("taking over", users done, in all)``.
        :returns: how many events were new.
        :raises StateError: for a store that holds events, but none of these: those fitted may be
            among them under other ids.
        """
        if isinstance(self.recommender, SessionRecommender):
            raise StateError("fitted sessions are over: begin with an empty store")
        data, new = self.recommender.fitted.data, 0
        total = len(data.users)
        columns = self.recommender.fitted.event_columns
        if self.store.counts()[1] and not self.store.known([self._taken_id(0)]):
            raise StateError("the store holds events already: fitted ones go into an empty one")
        for start in range(0, total, _AT_ONCE):
            first, last = data.offsets[[start, min(start + _AT_ONCE, total)]].tolist()
            names = data.users[user_of(data, np.arange(first, last))].tolist()
            items = data.catalogue[data.items[first:last]].tolist()
            times = data.times[first:last].tolist()
            features = columns.decode(data.codes[first:last], data.numbers[first:last])
            rows = zip(range(first, last), names, items, times, features, strict=True)
            new += self.apply([Event(self._taken_id(r), *row) for r, *row in rows]).accepted
            if progress is not None:
                progress("taking over", min(start + _AT_ONCE, total), total)
        return new

    # parts of the above

    def _taken_id(self, row: int) -> str:
        """The id of a fitted event: rows of another fit are others."""
        return f"fit:{self.recommender.fitted.key}:{row}"

    def _checked(self, events: Sequence[Event]) -> list[Event]:
        """The same with times in seconds; what could not be read later is refused before any is
        kept."""
        for event in events:
            if isinstance(event.user, int) != self._numeric or isinstance(event.user, bool):
                raise InteractionError(
                    f"event {event.id!r}: user {event.user!r} is {type(event.user).__name__}, ids "
                    f"of users are {'numbers' if self._numeric else 'text'} here"
                )
            try:
                json.dumps(dict(event.features))
            except TypeError as error:
                raise InteractionError(f"event {event.id!r}: features: {error}") from error
        self.recommender.fitted.catalogue.known([event.item for event in events])
        self.recommender.fitted.event_columns.encode(_columns(events), "the request")
        return [dataclasses.replace(event, time=as_seconds(event.time)) for event in events]

    def _held(self, users: Sequence[UserId]) -> dict[UserId, UserState]:
        """States that can go on; those of another model are left out."""
        start = self.recommender.start()
        blobs = self.store.states(users)
        found = {}
        for user in users:
            if user not in blobs:
                found[user] = start.copy()
                continue
            try:
                found[user] = UserState.from_bytes(blobs[user], start)
            except StaleStateError:
                continue  # read again from the log
        return found

    def _current(self, user: UserId) -> UserState:
        held = self._held([user])
        return held[user] if user in held else self.replay(user)

    def _advance(
        self, states: dict[UserId, UserState], events: Sequence[Event]
    ) -> dict[UserId, UserState]:
        """Move states on by their own events, all at once."""
        if not states:
            return {}
        users = list(states)
        row = {user: at for at, user in enumerate(users)}
        own = sorted((e for e in events if e.user in row), key=lambda e: e.time)
        joined = UserState.join([states[user] for user in users])
        self._replay(joined, [row[event.user] for event in own], own)
        return {user: joined.select([at]) for user, at in row.items()}

    def _read_again(
        self, users: Sequence[UserId], events: Sequence[Event]
    ) -> dict[UserId, UserState]:
        """States of users from their whole logs, new events in their places."""
        done: dict[UserId, UserState] = {}
        for start in range(0, len(users), _AT_ONCE):
            part = users[start : start + _AT_ONCE]
            logs = [self._log(user, [e for e in events if e.user == user]) for user in part]
            joined = self._from_logs(logs)
            done |= {user: joined.select([row]) for row, user in enumerate(part)}
        return done

    def _log(self, user: UserId, more: Sequence[Event] = ()) -> list[Event]:
        """A user's events in order, new ones in their places; of a session the last stretch."""
        log = sorted([*self.store.events(user), *more], key=lambda event: event.time)
        if self.gap is None:
            return log
        pauses = [k for k in range(1, len(log)) if log[k].time - log[k - 1].time > self.gap]
        return log[pauses[-1] :] if pauses else log

    def _paused(self, held: dict[UserId, UserState], events: Sequence[Event]) -> set[UserId]:
        """Users for whom a new session begins among these events."""
        if self.gap is None:
            return set()
        last = {user: float(state.times[0]) for user, state in held.items()}
        found = set()
        for event in sorted(events, key=lambda event: event.time):
            before = last.get(event.user, -np.inf)
            if np.isfinite(before) and event.time - before > self.gap:
                found.add(event.user)
            last[event.user] = max(before, event.time)
        return found

    def _from_logs(self, logs: Sequence[Sequence[Event]]) -> UserState:
        flat = [event for log in logs for event in log]
        rows = np.repeat(np.arange(len(logs)), [len(log) for log in logs])
        return self._replay(self.recommender.start(len(logs)), rows.tolist(), flat)

    def _replay(self, state: UserState, rows: Sequence[int], events: Sequence[Event]) -> UserState:
        features = _columns(events) if self.recommender.event_columns else None
        items, times = [e.item for e in events], [e.time for e in events]
        return self.recommender.replay(state, rows, items, times, features=features)


def _columns(events: Sequence[Event]) -> pd.DataFrame:
    """A row per event with its columns."""
    return pd.DataFrame([dict(event.features) for event in events], index=range(len(events)))
