"""Sessions: conformance, how they are cut, and that a chain in them is learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_core import registry
from mamba_core.registry import WeightsError
from mamba_core.testing import parametrize_task_checks
from mamba_recsys import Recommender, SessionRecommender
from mamba_recsys import interactions as I
from mamba_recsys.interactions import InteractionError
from mamba_recsys.next_item.objective import IGNORE, loss
from mamba_recsys.next_item.predict import FileRecommender
from mamba_recsys.readers import Columns
from mamba_recsys.session.config import SessionData, SessionPredict
from mamba_recsys.session.data import SessionDataset, cut_by_pauses
from mamba_recsys.session.metrics import metrics
from mamba_recsys.state.store import Event, SQLiteStore
from mamba_recsys.state.user_state import StateError, UserState
from mamba_recsys.state.users import UserStates
from mamba_recsys.synthetic import Synthetic


@parametrize_task_checks("rec-session")
def test_conformance(check):
    check()


@pytest.fixture
def path(tmp_path):
    frame = Synthetic(users=150, shortest=3, longest=9, items=24, seed=1).events()
    frame.rename(columns={"user_id": "session_id"}).to_csv(tmp_path / "a.csv", index=False)
    return tmp_path / "a.csv"


def dataset(path, **fields):
    model = registry.config("rec-session", preset="tiny", items=24)
    return SessionDataset(SessionData(path=path, min_item_events=0, **fields), model)


def test_no_session_of_training_begins_after_one_that_is_held_out(path):
    data = dataset(path)
    begins = data.interactions.times[data.interactions.offsets[:-1]]
    whole = [data.val(seed=0).sessions, data.test(seed=0).sessions]
    train = np.setdiff1d(np.arange(150), np.concatenate(whole))
    parts = [begins[s] for s in (train, *whole)]
    assert [len(p) for p in parts] == [120, 15, 15]
    assert parts[0].max() <= parts[1].min()
    assert parts[1].max() <= parts[2].min()
    assert len(data.train(seed=0)) == 120


def test_every_event_but_the_first_is_a_target(path):
    data = dataset(path, max_length=4)
    split = data.test(seed=0)
    for index in range(len(split)):
        sample = split.sample(0, index)
        session = data.interactions.history(int(split.sessions[index]))
        assert sample["items"].tolist() == session[:-1][-4:].tolist()
        assert sample["targets"].tolist() == session[1:][-4:].tolist()


def test_targets_nobody_trained_on_do_not_count(tmp_path):
    frame = pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(10), 3),
            "item_id": [0, 1, 2] * 9 + [0, 7, 1],
            "timestamp": np.arange(30),
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    model = registry.config("rec-session", preset="tiny", items=4)
    data = SessionDataset(SessionData(path=tmp_path / "a.csv", min_item_events=0), model)
    assert data.test(seed=0).sample(0, 0)["targets"].tolist() == [IGNORE, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50)), min_size=1, max_size=40))
def test_pauses_cut_sessions(rows):
    visitors, times = np.array([r[0] for r in rows]), np.array([float(r[1]) for r in rows])
    sessions = cut_by_pauses(visitors, times, 5)
    for one in np.unique(sessions):
        own = sessions == one
        assert len(np.unique(visitors[own])) == 1
        assert (np.diff(np.sort(times[own])) <= 5).all()
    for visitor in np.unique(visitors):
        own = np.flatnonzero(visitors == visitor)
        own = own[np.argsort(times[own], kind="stable")]
        new = sessions[own][1:] != sessions[own][:-1]
        assert (new == (np.diff(times[own]) > 5)).all()


def test_sessions_need_times(tmp_path):
    pd.DataFrame({"session_id": [1, 1], "item_id": [1, 2]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InteractionError, match="has no times"):
        dataset(tmp_path / "a.csv")


@pytest.mark.slow
def test_the_chain_is_learnt(path):
    torch.manual_seed(0)
    model = registry.build("rec-session", preset="tiny", items=24)
    data = dataset(path)
    split = data.train(seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    names = registry.spec("rec-session").inputs
    for epoch in range(30):
        batch = split.collate([split.sample(epoch, k) for k in range(len(split))])
        value = loss(model(**{n: batch[n] for n in names}), batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    model.eval()
    held = data.test(seed=0)
    batch = held.collate([held.sample(0, k) for k in range(len(held))])
    mrr = metrics()["mrr"]
    with torch.no_grad():
        mrr.update(model(**{n: batch[n] for n in names}), batch)
    counts = np.bincount(split.interactions.items, minlength=24)
    rank = 1 + (counts[None] > counts[batch["targets"].numpy()][:, None]).sum(1)
    assert float(mrr.compute()) > 1.3 * (1 / rank).mean()
    config = SessionPredict(catalogue=path, min_item_events=0, k=5)
    table = FileRecommender(model, config).recommend(
        (np.array([7, 7]), np.array([3, 9]), np.array([1.0, 2.0]))
    )
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert list(table) == ["session_id", "item_id", "score", "rank"]


# the interface on tables


def visits(count=60):
    """Visitors of two sessions each, an hour between events and a day between sessions."""
    frame = Synthetic(users=count, shortest=8, longest=12, items=24, seed=1).events()
    second = frame.groupby("user_id").cumcount() >= 4
    frame["timestamp"] += 86_400 * second
    return frame.rename(columns={"user_id": "visitor"})


@pytest.fixture(scope="module")
def rec():
    torch.manual_seed(0)
    one = SessionRecommender(
        "tiny",
        gap=7200,
        columns=Columns("visitor", "item_id", "timestamp"),
        train={"max_epochs": 2, "batch_size": 16},
    )
    return one.fit(visits())


def test_a_pause_cuts_what_is_fitted(rec):
    data, parts = rec.fitted.data, rec.fitted.parts
    assert len(data.users) == 120
    begins = data.times[data.offsets[:-1]]
    held = parts.train_end == data.offsets[:-1]
    assert begins[~held].max() <= begins[held].min()
    # every event of the last sessions but the first is a target
    last = np.argsort(begins, kind="stable")[-12:]
    own = np.concatenate([np.arange(data.offsets[s] + 1, data.offsets[s + 1]) for s in last])
    known = I.training_counts(data, parts)[data.items[own]] > 0
    assert sorted(parts.test) == sorted(own[known])


def test_the_report_is_of_sessions(rec):
    table = rec.evaluate().table
    assert {"hr@20", "mrr@20", "coverage@20"} <= set(table)
    assert set(table["model"]) == {"tiny", "popularity", "markov-1", "window-markov"}
    # seen items are candidates, unless one asks
    assert rec.recommend_from_items([[0, 1]]).attrs["filter_seen"] is False
    assert len(rec.recommend_from_items([[0, 1]], 24)) == 24
    assert len(rec.recommend_from_items([[0, 1]], 24, filter_seen=True)) == 22


def test_saved_for_its_own_task_only(rec, tmp_path):
    again = SessionRecommender.load(rec.save(tmp_path / "rec"))
    assert again.gap == 7200
    pd.testing.assert_frame_equal(again.evaluate().table, rec.evaluate().table)
    with pytest.raises(WeightsError, match="of rec-session, this is for rec-next"):
        Recommender.load(tmp_path / "rec")


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="gap = 0 must be above"):
        SessionRecommender(gap=0)
    with pytest.raises(ValueError, match="hold_out = 'temporal': 'sessions' or None"):
        SessionRecommender(hold_out="temporal")
    with pytest.raises(InteractionError, match="has no column 'timestamp'"):
        SessionRecommender("tiny").fit(pd.DataFrame({"session_id": [1, 1], "item_id": [1, 2]}))


@pytest.fixture
def states(rec, tmp_path):
    users = UserStates(rec, SQLiteStore(tmp_path / "states.db"))
    yield users
    users.store.close()


def clicks(items, times, who="a"):
    return [
        Event(f"{who}-{time}", who, item, float(time))
        for item, time in zip(items, times, strict=True)
    ]


@given(
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 40_000)), min_size=1, max_size=8),
    st.integers(1, 8),
)
@settings(max_examples=20, deadline=None)
def test_served_sessions_are_cut_by_pauses(rec, rows, at_once):
    """However events arrive, the state is that of the last session alone."""
    rows = list({time: (item, time) for item, time in rows}.values())
    users = UserStates(rec, SQLiteStore(":memory:"))
    events = clicks(*zip(*rows, strict=True))
    for start in range(0, len(events), at_once):
        users.apply(events[start : start + at_once])
    own = sorted(events, key=lambda event: event.time)
    cuts = [k for k in range(1, len(own)) if own[k].time - own[k - 1].time > 7200]
    own = own[cuts[-1] :] if cuts else own
    state = UserState.from_bytes(users.store.states(["a"])["a"], rec.start())
    expected = rec.start()
    for event in own:
        rec.update(expected, event.item, event.time)
    assert state.counts.tolist() == [len(own)]
    torch.testing.assert_close(
        state.mixer.tensors["hidden"], expected.mixer.tensors["hidden"], rtol=1e-4, atol=1e-5
    )
    users.store.close()


def test_the_service_speaks_of_sessions(states):
    pytest.importorskip("httpx")
    testclient = pytest.importorskip("fastapi.testclient")
    from mamba_recsys.service.app import create_app

    with testclient.TestClient(create_app(states), raise_server_exceptions=False) as client:
        body = {"event_id": "1", "session_id": "x7", "item_id": 3, "timestamp": 5}
        assert client.post("/events", json={"events": [body]}).json()["accepted"] == 1
        answer = client.get("/sessions/x7/recommendations").json()
        assert (answer["session_id"], answer["filter_seen"]) == ("x7", False)
        assert [item["rank"] for item in answer["items"]] == list(range(1, 21))
        later = {**body, "event_id": "2", "item_id": 5, "timestamp": 9000}
        client.post("/events", json={"events": [later]})
        seen = client.get("/sessions/x7/recommendations?k=24&filter_seen=true").json()["items"]
        assert {item["item_id"] for item in seen} == set(range(24)) - {5}
        health = client.get("/health").json()
        assert (health["task"], health["sessions"]) == ("rec-session", 1)
        assert client.get("/users/1/recommendations").status_code == 404
        wrong = {"event_id": "3", "user_id": 1, "item_id": 3}
        assert client.post("/events", json={"events": [wrong]}).status_code == 422
    states.store = SQLiteStore(":memory:")
    with pytest.raises(StateError, match="fitted sessions are over"):
        states.take_over()
