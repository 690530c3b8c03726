"""The HTTP service: answers, errors, and what is left after it was killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch

from mamba_recsys import Recommender
from mamba_recsys.service.numbers import Numbers
from mamba_recsys.state.store import SQLiteStore
from mamba_recsys.state.user_state import UserState
from mamba_recsys.state.users import UserStates
from mamba_recsys.synthetic import Synthetic

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")


@pytest.fixture(scope="module")
def rec():
    torch.manual_seed(0)
    return Recommender("tiny", train={"max_epochs": 2}).fit(Synthetic(users=40).events())


@pytest.fixture
def client(rec, tmp_path):
    from fastapi.testclient import TestClient

    from mamba_recsys.service.app import create_app

    users = UserStates(rec, SQLiteStore(tmp_path / "states.db"))
    with TestClient(create_app(users), raise_server_exceptions=False) as client:
        yield client


def event(number, user=1, item=3, **more):
    return {"event_id": f"e{number}", "user_id": user, "item_id": item, **more}


def test_events_and_recommendations(client):
    body = {"events": [event(1, timestamp=5), event(2, item=9, timestamp=6)]}
    assert client.post("/events", json=body).json() == {"accepted": 2, "duplicates": 0, "late": 0}
    assert client.post("/events", json=body).json()["duplicates"] == 2
    found = client.get("/users/1/recommendations", params={"k": 4}).json()
    assert found["user_id"] == 1
    assert [item["rank"] for item in found["items"]] == [1, 2, 3, 4]
    assert not {3, 9} & {item["item_id"] for item in found["items"]}
    everything = client.get("/users/1/recommendations?k=60&filter_seen=false").json()
    assert len(everything["items"]) == 60
    assert len(client.get("/users/99/recommendations").json()["items"]) == 10
    health = client.get("/health").json()
    assert (health["status"], health["users"], health["events"]) == ("ok", 1, 2)
    text = client.get("/metrics").text
    assert "mamba_recsys_events_accepted_total 2" in text
    assert 'mamba_recsys_recommendations_seconds_bucket{le="+Inf"} 3' in text


def test_columns_of_events_come_with_them(tmp_path):
    from fastapi.testclient import TestClient

    from mamba_recsys.service.app import create_app

    frame = Synthetic(users=20).events()
    frame["price"], frame["shop"] = frame.item_id / 7, "a"
    columns = ("price", "shop")
    priced = Recommender("tiny", event_features=columns, train={"max_steps": 1}).fit(frame)
    users = UserStates(priced, SQLiteStore(tmp_path / "states.db"))
    with TestClient(create_app(users), raise_server_exceptions=False) as client:
        given = {"price": 2, "shop": "b"}
        body = {"events": [event(1, features=given)]}
        assert client.post("/events", json=body).json()["accepted"] == 1
        assert users.store.events(1)[0].features == given
        answer = client.post("/events", json={"events": [event(2)]})
        assert answer.status_code == 422
        assert "no column 'shop'" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"events": []}, 422, "at least 1"),
        ({"events": [event(1, item=999)]}, 422, "UnknownItemError"),
        ({"events": [event(1, user="1")]}, 422, "user '1' is str"),
        ({"events": [event(1, item=3.5)]}, 422, "item_id"),
        ({"events": [event(1, timestamp="soon")]}, 422, "timestamp"),
        ({"events": [event(1, colour="red")]}, 422, "colour"),
        ({"events": [event(1, timestamp=float("nan"))]}, 422, "0.timestamp: Input should be a f"),
        (
            {"events": [{**event(1), "event_id": "\ud800"}]},
            422,
            "event_id: Input should be a valid",
        ),
        ({"events": [event(k) for k in range(10_001)]}, 422, "at most 10000 items"),
        ({}, 422, "events"),
    ],
)
def test_bad_events_are_named(client, body, status, says):
    sent = {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    answer = client.post("/events", **sent)
    assert answer.status_code == status
    assert says in answer.text
    assert len(answer.text) < 300  # what was sent is not sent back
    assert set(answer.json()) == {"error", "detail"}
    assert client.get("/health").json()["events"] == 0


@pytest.mark.parametrize("content", [b"", b'{"events":', b"[]", b"\xff", b"[" * 10_000])
def test_what_is_no_json_is_named(client, content):
    answer = client.post("/events", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert "body" in answer.text


@pytest.mark.parametrize("stream", [False, True])
def test_bodies_that_are_too_long_are_refused(rec, tmp_path, stream):
    """With and without a length in the head; and nothing of them is kept."""
    from fastapi.testclient import TestClient

    from mamba_recsys.service.app import create_app

    users = UserStates(rec, SQLiteStore(tmp_path / "states.db"))
    with TestClient(create_app(users, max_body=1000), raise_server_exceptions=False) as client:
        content = json.dumps({"events": [event(k) for k in range(50)]}).encode()
        pieces = iter([content[:900], content[900:]]) if stream else content
        answer = client.post("/events", content=pieces)
        assert answer.status_code == 413
        assert "up to 1000 bytes" in answer.json()["detail"]
        assert client.get("/nowhere").json() == {"error": "Not Found", "detail": "Not Found"}
        assert client.get("/health").json()["events"] == 0
        assert client.post("/events", json={"events": [event(1)]}).json()["accepted"] == 1


def test_bad_requests_are_named(client):
    assert "k = 61" in client.get("/users/1/recommendations?k=61").json()["detail"]
    assert client.get("/users/1/recommendations?k=0").status_code == 422
    assert "is text" in client.get("/users/anna/recommendations").json()["detail"]


def test_a_store_that_is_gone_is_503(rec, tmp_path):
    from fastapi.testclient import TestClient

    from mamba_recsys.service.app import create_app

    users = UserStates(rec, SQLiteStore(tmp_path / "states.db"))
    with TestClient(create_app(users), raise_server_exceptions=False) as client:
        users.store.close()
        answer = client.post("/events", json={"events": [event(1)]})
    assert answer.status_code == 503
    assert answer.json()["error"] == "StoreError"


def test_histogram_adds_up():
    numbers = Numbers()
    for _ in range(3):
        with numbers.timed("x"):
            time.sleep(0.002)
    text = numbers.text()
    assert 'mamba_recsys_x_seconds_bucket{le="0.001"} 0' in text
    assert "mamba_recsys_x_seconds_count 3" in text


# killed


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """``mamba-core serve`` in a process of its own, on the loopback."""

    def __init__(self, folder, store):
        self.port = free_port()
        command = "from mamba_core.cli import main; main()"
        words = ["-c", command, "serve", "rec-next", folder, "--store", store]
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words), "--port", str(self.port)],
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def wait(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5).json()
            except httpx.TransportError:
                time.sleep(0.2)
        raise AssertionError("the service did not start")

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(30)
        self.process.stderr.close()


def send(port, worker, acknowledged, sent):
    """Post events one after another until the connection breaks."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        for number in range(100_000):
            body = event(f"{worker}-{number}", user=worker, item=number % 60, timestamp=number)
            sent.append(body)
            try:
                answer = client.post("/events", json={"events": [body]})
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                acknowledged.append(body["event_id"])


@pytest.mark.slow
def test_killed_under_load_loses_no_acknowledged_event(rec, tmp_path):
    folder, store = rec.save(tmp_path / "rec"), tmp_path / "states.db"
    server = Server(folder, store)
    server.wait()
    acknowledged, sent = [], []
    workers = [
        threading.Thread(target=send, args=(server.port, w, acknowledged, sent)) for w in range(3)
    ]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 30
    while len(acknowledged) < 60 and time.monotonic() < deadline:
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    for worker in workers:
        worker.join(20)
    assert len(acknowledged) >= 60
    held = SQLiteStore(store)
    assert set(acknowledged) <= held.known([body["event_id"] for body in sent])
    before = held.counts()[1]
    held.close()

    # a new service goes on; everything sent again, nothing counts twice
    server = Server(folder, store)
    assert server.wait()["events"] == before
    answer = httpx.post(
        f"http://127.0.0.1:{server.port}/events", json={"events": sent}, timeout=30
    ).json()
    assert answer == {"accepted": len(sent) - before, "duplicates": before, "late": 0}
    server.stop(signal.SIGTERM)
    assert server.process.returncode in (0, -signal.SIGTERM)
    users = UserStates(rec, SQLiteStore(store))
    assert users.store.counts() == (3, len(sent))
    for user in range(3):
        state = UserState.from_bytes(users.store.states([user])[user], rec.start())
        again = users.replay(user)
        assert state.counts.tolist() == again.counts.tolist()
        torch.testing.assert_close(
            state.mixer.tensors["hidden"], again.mixer.tensors["hidden"], rtol=1e-5, atol=1e-5
        )
    users.store.close()


def test_what_cannot_be_served_is_named(rec, tmp_path):
    from mamba_core.registry import ConfigError, WeightsError
    from mamba_recsys.service.server import serve

    options = {"take_over": False, "host": "127.0.0.1", "port": 0}
    with pytest.raises(ConfigError, match="'ts-forecast' is not fitted or served here; rec-next"):
        serve("ts-forecast", tmp_path, tmp_path / "a.db", **options)
    with pytest.raises(WeightsError, match="no saved recommender"):
        serve("rec-next", tmp_path, tmp_path / "a.db", **options)
    assert not (tmp_path / "a.db").exists()
