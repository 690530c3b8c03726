"""What a table, a list or a moment must be: bad ones are named before anything is trained."""

from __future__ import annotations

import datetime
import uuid

import numpy as np
import pandas as pd
import pytest
import torch

from mamba_recsys import InteractionError, Recommender
from mamba_recsys.recommender import UnknownUserError
from mamba_recsys.state.store import Event, SQLiteStore
from mamba_recsys.state.user_state import StateError, as_seconds
from mamba_recsys.state.users import UserStates
from mamba_recsys.synthetic import Synthetic

STEP = {"max_steps": 1}
EVENTS = Synthetic(users=12, items=20).events()
ITEMS = Synthetic(items=20).features()


def fitted(frame=EVENTS, items=None, **options):
    return Recommender("tiny", train=STEP, **options).fit(frame, items)


@pytest.fixture(scope="module")
def rec():
    torch.manual_seed(0)
    return fitted()


# ids


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda i: uuid.UUID(int=i), "item ids are UUID: a saved model names whole numbers and"),
        (lambda i: (i, 1), "item ids are tuple"),
        (lambda i: str(i).encode(), "item ids are bytes"),
        (lambda i: i > 3, "item ids are bool"),
        (lambda i: pd.Timestamp(i), "item ids are "),
    ],
)
def test_ids_that_could_not_be_saved_are_refused(made, message):
    with pytest.raises(InteractionError, match=message):
        fitted(EVENTS.assign(item_id=[made(i) for i in EVENTS.item_id]))


def test_a_missing_id_among_nullable_integers_is_named():
    holed = EVENTS.item_id.astype("Int64").where(EVENTS.index != 4)
    with pytest.raises(InteractionError, match="row 4: the item id is missing"):
        fitted(EVENTS.assign(item_id=holed))


def test_integers_above_int64_do_not_turn_around():
    with pytest.raises(InteractionError, match=r"above 2\^63 - 1"):
        fitted(EVENTS.assign(item_id=EVENTS.item_id.astype("uint64") + 2**63))


def test_integers_as_objects_are_integers(rec):
    table = fitted(EVENTS.astype(object)).recommend([3], k=2)
    pd.testing.assert_frame_equal(table, rec.recommend([3], k=2))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (ITEMS.assign(item_id=ITEMS.item_id.astype(str)), "items are text in the table of items"),
        (ITEMS.assign(item_id=ITEMS.item_id + 0.0), "item ids are floating-point"),
        (ITEMS.assign(item_id=ITEMS.item_id.astype("Int64").where(ITEMS.index != 2)), "row 2"),
        (ITEMS.head(10), r"item 10 has events but no row"),
        (pd.concat([ITEMS, ITEMS]), "item 0 has two rows"),
    ],
)
def test_bad_tables_of_items_are_named(items, message):
    with pytest.raises(InteractionError, match=message):
        fitted(items=items, item_features=("group",))


def test_an_unknown_rule_for_duplicates_is_no_rule():
    with pytest.raises(ValueError, match="duplicates = 'dorp': 'error', 'keep', 'drop'"):
        Recommender("tiny", duplicates="dorp")


# one where many are asked for


@pytest.mark.parametrize(
    "call",
    [
        lambda rec: rec.recommend(3),
        lambda rec: rec.recommend("3"),
        lambda rec: rec.recommend([3], allow=5),
        lambda rec: rec.recommend([3], deny="5"),
        lambda rec: rec.recommend_from_items([3, 4]),
        lambda rec: rec.recommend_from_items(["ab"]),
        lambda rec: rec.similar_items(3),
        lambda rec: rec.add_items("new"),
        lambda rec: rec.topk(rec.start(), 2, exclude=[3]),
    ],
)
def test_one_id_is_no_list(rec, call):
    with pytest.raises(InteractionError, match=r"is one id, not a list of them: give \["):
        call(rec)


@pytest.mark.parametrize("user", [3.0, True, "3", None])
def test_users_of_another_type_are_unknown(rec, user):
    with pytest.raises(UnknownUserError, match=rf"user {user!r} \({type(user).__name__}\)"):
        rec.recommend([1, user])


@pytest.mark.parametrize("k", [0, 21, True, "3", 2.0])
def test_k_is_a_whole_number(rec, k):
    with pytest.raises(ValueError, match=r"must be a whole number in 1 \.\. 20"):
        rec.recommend([3], k=k)


# states and moments


def test_columns_of_a_table_move_states_on(rec):
    frame = pd.DataFrame({"item": [3, 4, 5], "ts": [1.0, 2.0, 3.0]})
    state = rec.update(rec.start(3), frame["item"], frame["ts"])
    assert state.times.tolist() == [1, 2, 3]
    with pytest.raises(StateError, match="users = -1 must be 0 or more"):
        rec.start(-1)


def test_every_event_has_a_row_of_features():
    priced = fitted(EVENTS.assign(price=EVENTS.item_id / 7), event_features=("price",))
    with pytest.raises(StateError, match="features has 2 rows for 1 events"):
        priced.update(priced.start(), 3, 1, features=pd.DataFrame({"price": [1.0, 2.0]}))
    with pytest.raises(InteractionError, match="dict is no table in memory"):
        priced.update(priced.start(), 3, 1, features={"price": 1.0})


def test_features_of_an_event_come_in_any_table():
    polars = pytest.importorskip("polars")
    priced = fitted(EVENTS.assign(price=EVENTS.item_id / 7), event_features=("price",))
    row = pd.DataFrame({"price": [1.5]}, index=[7])
    one = priced.update(priced.start(), 3, 1, features=row)
    two = priced.update(priced.start(), 3, 1, features=polars.from_pandas(row))
    assert torch.equal(one.mixer.tensors["hidden"], two.mixer.tensors["hidden"])


@pytest.mark.parametrize("nothing", [pd.NaT, np.datetime64("NaT"), float("nan"), "soon", None])
def test_moments_that_are_none_are_named(rec, nothing):
    with pytest.raises(StateError, match="time "):
        as_seconds(nothing)
    state = rec.update(rec.start(), 3, 5)
    if nothing is not None:
        with pytest.raises(StateError, match="time "):
            rec.update(state, 3, nothing)
        with pytest.raises(StateError, match="time "):
            rec.recommend([3], at=nothing)
    assert state.times.tolist() == [5]


def test_moments_are_numbers_dates_and_iso_text(rec):
    day = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    for one in (day, "2026-03-01", "2026-03-01T01:00:00+01:00", pd.Timestamp(day)):
        assert as_seconds(one) == day.timestamp()
    users = UserStates(rec, SQLiteStore(":memory:"))
    users.apply([Event("a", 1, 3, "2026-03-01"), Event("b", 1, 4, day)])
    assert [event.time for event in users.store.events(1)] == [day.timestamp()] * 2
    users.store.close()
