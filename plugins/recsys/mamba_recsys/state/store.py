"""Where events and states live: a log that is written first, and the newest state of each user.

A store keeps both in one transaction, so that a state never knows more or less than the log.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

UserId = int | str
ItemId = int | str


class StoreError(OSError):
    """The store did not answer; nothing of the request was kept."""


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    id: str
    """Tells it from all others: what comes twice under one id counts once."""
    user: UserId
    item: ItemId
    time: float
    """Seconds."""
    features: Mapping[str, Any] = field(default_factory=dict)
    """Its columns by name, JSON values; those that the model reads must be there."""


class StateStore(Protocol):
    """What :class:`~mamba_recsys.state.users.UserStates` asks of a store."""

    def known(self, ids: Sequence[str]) -> set[str]:
        """Return which of these event ids are in the log."""
        ...

    def states(self, users: Sequence[UserId]) -> dict[UserId, bytes]:
        """Return the newest state of each user that has one."""
        ...

    def events(self, user: UserId) -> list[Event]:
        """Return a user's events by time, those of equal times as they came."""
        ...

    def commit(self, events: Sequence[Event], states: Mapping[UserId, bytes]) -> None:
        """Keep events and states, all or nothing; on return they outlive this process."""
        ...

    def users(self) -> list[UserId]:
        """Return all users that have an event."""
        ...

    def counts(self) -> tuple[int, int]:
        """Return how many users and events there are."""
        ...

    def close(self) -> None:
        """Let go of the file or connection."""
        ...


_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    user TEXT NOT NULL,
    item TEXT NOT NULL,
    time REAL NOT NULL,
    features TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_users ON events (user, time, seq);
CREATE TABLE IF NOT EXISTS states (user TEXT PRIMARY KEY, state BLOB NOT NULL);
"""
_MANY = 500
"""Values in one question; SQLite takes 999 in old versions."""


class SQLiteStore:
    """Events and states in one SQLite file.

    A commit is on the disk when it returns (``synchronous = FULL``), so that neither a killed
    process nor a power cut takes it back. The file belongs to one process while it is open: a
    second one that moved the same states on would lose events.

    :param path: made when it is not there; ``:memory:`` keeps nothing.
    :raises StoreError: for a file that is no such store, or is open elsewhere.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = str(path)
        with self._errors():
            self._db = sqlite3.connect(
                self.path, check_same_thread=False, isolation_level=None, timeout=1
            )
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)
        self._file = self._found()

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"the store {self.path} does not answer: {error}") from error

    def _found(self) -> tuple[int, int] | None:
        """Which file stands at the path now; None in memory, or where there is none."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _each(self, sql: str, values: Sequence[str]) -> Iterable[tuple[Any, ...]]:
        """Ask about many values, ``{}`` standing for them."""
        for start in range(0, len(values), _MANY):
            part = values[start : start + _MANY]
            yield from self._db.execute(sql.format(",".join("?" * len(part))), part)

    def known(self, ids: Sequence[str]) -> set[str]:
        """See :meth:`StateStore.known`."""
        with self._errors():
            return {row[0] for row in self._each("SELECT id FROM events WHERE id IN ({})", ids)}

    def states(self, users: Sequence[UserId]) -> dict[UserId, bytes]:
        """See :meth:`StateStore.states`."""
        sql = "SELECT user, state FROM states WHERE user IN ({})"
        with self._errors():
            rows = self._each(sql, [json.dumps(user) for user in users])
            return {json.loads(user): state for user, state in rows}

    def events(self, user: UserId) -> list[Event]:
        """See :meth:`StateStore.events`."""
        sql = "SELECT id, item, time, features FROM events WHERE user = ? ORDER BY time, seq"
        with self._errors():
            rows = self._db.execute(sql, (json.dumps(user),)).fetchall()
        return [
            Event(id, user, json.loads(item), time, json.loads(features))
            for id, item, time, features in rows
        ]

    def commit(self, events: Sequence[Event], states: Mapping[UserId, bytes]) -> None:
        """See :meth:`StateStore.commit`.

        :raises StoreError: also when the file was deleted or replaced: SQLite would go on writing
            into what nobody can open again.
        """
        if self._found() != self._file:
            raise StoreError(f"the store {self.path} was deleted or replaced while it was open")
        rows = [
            (e.id, json.dumps(e.user), json.dumps(e.item), e.time, json.dumps(dict(e.features)))
            for e in events
        ]
        blobs = [(json.dumps(user), state) for user, state in states.items()]
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(
                    "INSERT INTO events (id, user, item, time, features) VALUES (?, ?, ?, ?, ?)",
                    rows,
                )
                self._db.executemany("INSERT OR REPLACE INTO states VALUES (?, ?)", blobs)
                self._db.execute("COMMIT")
            except BaseException:  # also of what is no text: no transaction stays open
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def users(self) -> list[UserId]:
        """See :meth:`StateStore.users`."""
        with self._errors():
            return [json.loads(u) for (u,) in self._db.execute("SELECT DISTINCT user FROM events")]

    def counts(self) -> tuple[int, int]:
        """See :meth:`StateStore.counts`."""
        with self._errors():
            (row,) = self._db.execute(
                "SELECT (SELECT count(*) FROM states), (SELECT count(*) FROM events)"
            )
        return int(row[0]), int(row[1])

    def close(self) -> None:
        """See :meth:`StateStore.close`."""
        self._db.close()
