"""Users' states in a store: what is acknowledged is kept, what comes twice counts once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mamba_recsys import InteractionError, Recommender
from mamba_recsys.state.store import Event, SQLiteStore, StoreError
from mamba_recsys.state.user_state import StateError, UserState
from mamba_recsys.state.users import Applied, UserStates
from mamba_recsys.synthetic import Synthetic


@pytest.fixture(scope="module")
def rec():
    torch.manual_seed(0)
    return Recommender("tiny", train={"max_epochs": 2}).fit(Synthetic(users=40).events())


@pytest.fixture
def users(rec, tmp_path):
    states = UserStates(rec, SQLiteStore(tmp_path / "states.db"))
    yield states
    states.store.close()


def log(user, count, start=0, seed=0):
    rng = np.random.default_rng([seed, user])
    return [Event(f"{user}-{k}", user, int(rng.integers(60)), start + k) for k in range(count)]


def close(one, other):
    for name, value in one.mixer.flatten().items():
        torch.testing.assert_close(
            value, other.mixer.flatten()[name], rtol=1e-5, atol=1e-5, msg=name
        )
    assert one.times.tolist() == other.times.tolist()


def kept(users, user):
    blob = users.store.states([user])[user]
    return UserState.from_bytes(blob, users.recommender.start())


def test_events_count_once(users):
    events = log(1, 5)
    assert users.apply(events[:3]) == Applied(3, 0, 0)
    assert users.apply(events) == Applied(2, 3, 0)
    assert users.apply([events[0], events[0]]) == Applied(0, 2, 0)
    doubled = Event("new", 1, 3, 50)
    assert users.apply([doubled, doubled]) == Applied(1, 1, 0)
    assert kept(users, 1).counts.tolist() == [6]
    close(kept(users, 1), users.replay(1))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_replay_is_what_grew(rec, data):
    """However events come, in whatever batches and order, states are those of the sorted log."""
    events = [e for user in (1, 2, 3) for e in log(user, data.draw(st.integers(1, 6)))]
    events = data.draw(st.permutations(events))
    users = UserStates(rec, SQLiteStore(":memory:"))
    at = 0
    while at < len(events):
        size = data.draw(st.integers(1, 5))
        again = events[: data.draw(st.integers(0, at))][:2]
        users.apply([*events[at : at + size], *again])
        at += size
    for user in users.store.users():
        close(kept(users, user), users.replay(user))
        assert [e.time for e in users.store.events(user)] == sorted(
            e.time for e in events if e.user == user
        )
    users.store.close()


def test_late_events_are_put_in_their_place(users):
    events = log(1, 6)
    users.apply([*events[:2], *events[3:]])
    assert users.apply([events[2]]) == Applied(1, 0, 1)
    close(kept(users, 1), users.replay(1))
    straight = users.recommender.start()
    for event in events:
        users.recommender.update(straight, event.item, event.time)
    close(kept(users, 1), straight)


def test_nothing_is_kept_of_a_bad_request(users):
    users.apply(log(1, 2))
    before = kept(users, 1).to_bytes()
    for bad, message in (
        (Event("a", 1, 999, 5), "item 999 is not among the 60"),
        (Event("a", "1", 3, 5), "user '1' is str"),
        (Event("a", 1, "3", 5), "item '3' is str"),
        (Event("a", 1, 3, float("nan")), "not finite"),
    ):
        with pytest.raises((InteractionError, StateError), match=message):
            users.apply([Event("good", 1, 3, 4), bad])
    assert users.store.counts() == (1, 2)
    assert kept(users, 1).to_bytes() == before


def test_a_store_that_goes_away_keeps_all_or_nothing(rec, tmp_path):
    class Breaking(SQLiteStore):
        """Fails between the log and the states."""

        fail = False

        def commit(self, events, states):
            if self.fail:
                states = {user: (b for b in ()) for user in states}  # no blob: the insert fails
            super().commit(events, states)

    users = UserStates(rec, Breaking(tmp_path / "a.db"))
    users.apply(log(1, 2))
    users.store.fail = True
    with pytest.raises(StoreError, match="does not answer"):
        users.apply(log(1, 5))
    users.store.fail = False
    assert users.store.counts() == (1, 2)
    assert users.apply(log(1, 5)) == Applied(3, 2, 0)  # sent again, nothing is doubled
    close(kept(users, 1), users.replay(1))
    users.store.close()
    with pytest.raises(StoreError, match="closed"):
        users.apply(log(1, 7))


def test_a_file_that_is_no_store_is_named(tmp_path):
    (tmp_path / "a.db").write_text("not a database, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match=r"a\.db does not answer: file is not a database"):
        SQLiteStore(tmp_path / "a.db")


def test_states_of_another_model_are_read_again(rec, tmp_path):
    store = SQLiteStore(tmp_path / "a.db")
    UserStates(rec, store).apply([*log(1, 4), *log(2, 3)])
    other = Recommender("tiny", train={"max_steps": 1}, seed=1).fit(Synthetic(users=40).events())
    users = UserStates(other, store)
    assert users.recommend(1, 3) == other.topk(users.replay(1), 3, exclude=[
        [e.item for e in store.events(1)]
    ])  [0]  # fmt: skip
    users.apply([Event("more", 1, 5, 99)])
    close(kept(users, 1), users.replay(1))
    assert kept(users, 1).counts.tolist() == [5]
    store.close()


def test_what_was_seen_is_left_out(users):
    users.apply(log(1, 9))
    seen = {event.item for event in log(1, 9)}
    assert not seen & {item for item, _ in users.recommend(1, 20)}
    assert len(users.recommend(1, 60, filter_seen=False)) == 60
    popular = np.argsort(-users.recommender.fitted.popularity, kind="stable")[:3]
    assert [item for item, _ in users.recommend(77, 3)] == popular.tolist()


def test_fitted_users_go_on(users):
    rec = users.recommender
    seen = []
    assert users.take_over(lambda *told: seen.append(told)) == len(rec.fitted.data.items)
    assert seen == [("taking over", 40, 40)]
    table = rec.recommend([4, 7], k=5)
    for user in (4, 7):
        expected = table[table.user_id == user].item_id.tolist()
        assert [item for item, _ in users.recommend(user, 5)] == expected
    users.apply([Event("new", 4, 3, 1e9)])
    assert users.take_over() == 0  # the service was started again
    assert kept(users, 4).counts.tolist() == [len(rec.fitted.data.history(4)) + 1]
    close(kept(users, 7), users.replay(7))


def test_a_take_over_that_was_cut_off_goes_on(users, monkeypatch):
    """A kill between two of its commits must leave nobody out when it is tried again."""
    monkeypatch.setattr("mamba_recsys.state.users._AT_ONCE", 8)
    commit, left = users.store.commit, iter(range(2))

    def killed(events, states):
        if next(left, None) is None:
            raise KeyboardInterrupt
        commit(events, states)

    monkeypatch.setattr(users.store, "commit", killed)
    with pytest.raises(KeyboardInterrupt):
        users.take_over()
    monkeypatch.setattr(users.store, "commit", commit)
    data = users.recommender.fitted.data
    assert users.take_over() == len(data.items) - data.offsets[16]
    assert users.store.counts() == (40, len(data.items))
    for user in (0, 15, 16, 39):
        close(kept(users, user), users.replay(user))


def test_events_of_others_are_not_mixed_with_fitted_ones(users):
    users.apply(log(1, 2))
    with pytest.raises(StateError, match="holds events already"):
        users.take_over()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_was_deleted_acknowledges_nothing(rec, tmp_path, replaced):
    users = UserStates(rec, SQLiteStore(tmp_path / "a.db"))
    users.apply(log(1, 2))
    (tmp_path / "a.db").rename(tmp_path / "b.db")
    if replaced:
        (tmp_path / "a.db").write_bytes(b"")
    with pytest.raises(StoreError, match="deleted or replaced while it was open"):
        users.apply(log(1, 3))
    (tmp_path / "b.db").replace(tmp_path / "a.db")
    assert users.apply(log(1, 3)) == Applied(1, 2, 0)  # it is there again: nothing was lost
    users.store.close()


def test_a_file_belongs_to_one_process(rec, tmp_path):
    one = SQLiteStore(tmp_path / "a.db")
    UserStates(rec, one).apply(log(1, 3))
    with pytest.raises(StoreError, match="locked"):
        SQLiteStore(tmp_path / "a.db")
    one.close()
    other = SQLiteStore(tmp_path / "a.db")
    assert other.counts() == (1, 3)
    other.close()


@pytest.fixture(scope="module")
def priced():
    """A model that reads a number, a category and a list of every event."""
    torch.manual_seed(0)
    frame, rng = Synthetic(users=40).events(), np.random.default_rng(0)
    frame["price"], frame["shop"] = rng.normal(3, 2, len(frame)), rng.choice(["a", "b"], len(frame))
    frame["place"] = list(rng.normal(size=(len(frame), 2)))
    columns = ("price", "shop", "place")
    return Recommender("tiny", event_features=columns, train={"max_epochs": 2}).fit(frame)


def with_columns(events, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Event(e.id, e.user, e.item, e.time, {
            "price": float(rng.normal()), "shop": "ab"[k % 2], "place": rng.normal(size=2).tolist()
        })
        for k, e in enumerate(events)
    ]  # fmt: skip


def test_columns_of_events_are_read_and_kept(priced, tmp_path):
    users = UserStates(priced, SQLiteStore(tmp_path / "a.db"))
    events = with_columns(log(1, 6))
    assert users.apply([*events[:2], *events[3:]]) == Applied(5, 0, 0)
    assert users.apply([events[2]]) == Applied(1, 0, 1)  # late: the log is read again
    close(kept(users, 1), users.replay(1))
    straight = priced.start()
    for event in events:
        table = pd.DataFrame([dict(event.features)])
        priced.update(straight, event.item, event.time, features=table)
    close(kept(users, 1), straight)
    other = priced.update(priced.start(), 3, 1, features=table)
    assert not torch.equal(other.mixer.tensors["hidden"], straight.mixer.tensors["hidden"])
    assert [e.features for e in users.store.events(1)] == [e.features for e in events]
    users.store.close()


def test_fitted_columns_are_taken_over(priced):
    users = UserStates(priced, SQLiteStore(":memory:"))
    assert users.take_over() == len(priced.fitted.data.items)
    for user in (0, 13):
        expected = priced.recommend([user], k=5)
        found = users.recommend(user, 5)
        assert [item for item, _ in found] == expected.item_id.tolist()
        np.testing.assert_allclose([s for _, s in found], expected.score, rtol=1e-4, atol=1e-5)
    users.store.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": None}, "column 'price'"),
        ({"price": "cheap"}, "column 'price' holds numbers"),
        ({"price": float("nan")}, "column 'price', row 0: nan"),
        ({"place": [1.0]}, "column 'place', row 0: expected 2"),
        ({"place": 1.0}, "column 'place', row 0: expected 2"),
        ({"extra": np.float32(1)}, "event '1-0': features: Object of type float32"),
    ],
)
def test_columns_that_cannot_be_read_are_named(priced, change, message):
    users = UserStates(priced, SQLiteStore(":memory:"))
    (event,) = with_columns(log(1, 1))
    bad = Event(event.id, 1, event.item, event.time, {**event.features, **change})
    with pytest.raises(InteractionError, match=message):
        users.apply([bad])
    with pytest.raises(InteractionError, match="no column 'shop'"):
        users.apply([Event("a", 1, 3, 5.0, {"price": 1.0})])
    assert users.store.counts() == (0, 0)
    users.store.close()
