"""``Recommender``: tables in and out, users old and new, items more and fewer, states."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
import torch

from mamba_core.registry import ConfigError, WeightsError
from mamba_recsys import InteractionError, Recommender
from mamba_recsys.catalogue import UnknownItemError
from mamba_recsys.evaluation import evaluate
from mamba_recsys.recommender import UnknownUserError
from mamba_recsys.state.user_state import OutOfOrderError, StaleStateError, StateError, UserState
from mamba_recsys.synthetic import Synthetic
from mamba_recsys.topk import top_k

MADE = Synthetic(users=120, repeat=0.1)
QUICK = {"max_epochs": 12, "lr": 5e-3, "warmup_steps": 10, "batch_size": 16}


def fitted(frame, items=None, **options):
    options = {"model": "tiny", "train": QUICK, **options}
    return Recommender(options.pop("model"), **options).fit(frame, items)


@pytest.fixture(scope="module")
def events():
    frame = MADE.events()
    return frame.assign(item_id=[f"i{i:02}" for i in frame.item_id])


@pytest.fixture(scope="module")
def rec(events):
    return fitted(events)


def test_a_table_comes_back(rec, events):
    table = rec.recommend([3, 0], k=5)
    assert list(table) == ["user_id", "item_id", "score", "rank"]
    assert table.user_id.tolist() == [3] * 5 + [0] * 5
    assert table["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    assert (np.diff(table.score[:5]) <= 0).all()
    assert table.attrs["filter_seen"] is True
    seen = set(events.item_id[events.user_id == 3])
    assert not seen & set(table.item_id[:5])
    plain = rec.recommend([3], k=60, filter_seen=False)
    assert seen <= set(plain.item_id)
    assert len(plain) == 60


def test_the_chain_is_learnt(rec):
    report = rec.evaluate(ks=(5,))
    table = report.table.set_index(["model", "filter_seen"])["ndcg@5"]
    assert table["tiny", False] > 1.5 * table["popularity", False]
    assert "window-markov" in str(report)
    assert len(rec.evaluate(filter_seen=True).table) == 4


def test_a_split_in_time():
    frame = Synthetic(users=80, spread=10).events()
    rec = fitted(frame, hold_out="temporal", train={**QUICK, "max_epochs": 6})
    parts, data = rec.fitted.parts, rec.fitted.data
    first = data.times[parts.test].min()
    trained = np.arange(len(data.items)) < np.repeat(parts.train_end, np.diff(data.offsets))
    assert data.times[trained].max() < first
    report = rec.evaluate("temporal", ks=(5,))
    assert report.by_length["users"].sum() == len(parts.test)
    with pytest.raises(ValueError, match="split = 'leave-one-out' were trained on"):
        rec.evaluate("leave-one-out")
    with pytest.raises(ValueError, match="no target to rank"):
        evaluate(rec.fitted.scorer, data, parts.test[:0])


def test_training_on_everything(events):
    rec = fitted(events, hold_out=None, train={"max_steps": 2})
    assert rec.fitted.parts.train_end.tolist() == rec.fitted.data.offsets[1:].tolist()
    assert rec.result.ndcg is None
    with pytest.raises(ValueError, match="fitted with hold_out = None"):
        rec.evaluate()


def test_allow_and_deny(rec):
    table = rec.recommend([1], k=60, allow=["i01", "i02", "i03"], deny=["i02"], filter_seen=False)
    assert set(table.item_id) == {"i01", "i03"}
    with pytest.raises(UnknownItemError, match="'zz' is not among the 60"):
        rec.recommend([1], allow=["zz"])


def test_a_moment_in_the_past(rec, events):
    own = events[events.user_id == 7]
    moment = int(own.timestamp.iloc[4])
    past = rec.recommend([7], k=6, at=moment)
    expected = rec.recommend_from_items([own.item_id[:4].tolist()], k=6)
    assert past.item_id.tolist() == expected.item_id.tolist()
    dated = datetime.datetime.fromtimestamp(moment, datetime.UTC)
    assert rec.recommend([7], k=6, at=dated).item_id.tolist() == past.item_id.tolist()


def test_users_nobody_has_seen(rec):
    table = rec.recommend_from_items([["i05", "i11"], []], k=4)
    assert table.user_id.tolist() == [0] * 4 + [1] * 4
    assert table.attrs["popularity"] == [1]
    counts = rec.fitted.popularity
    best = rec.item_ids()[np.argsort(-counts, kind="stable")[:4]]
    assert table.item_id[4:].tolist() == best.tolist()
    table = rec.recommend_from_items([["i05", "new"]], k=2, unknown="skip")
    assert table.attrs["skipped"] == 1
    with pytest.raises(UnknownItemError, match="'new'"):
        rec.recommend_from_items([["new"]])


def test_nobody_asked_nothing_said(rec):
    for table in (rec.recommend([]), rec.recommend_from_items([])):
        assert list(table) == ["user_id", "item_id", "score", "rank"]
        assert len(table) == 0


def test_bad_requests_are_named(rec):
    with pytest.raises(UnknownUserError, match=r"user 999 .*recommend_from_items"):
        rec.recommend([999])
    with pytest.raises(UnknownUserError, match=r"user '3' \(str\)"):
        rec.recommend(["3"])
    with pytest.raises(ValueError, match=r"k = 61 must be a whole number in 1 \.\. 60"):
        rec.recommend([3], k=61)
    with pytest.raises(InteractionError, match="item 5 is int, the catalogue's ids are text"):
        rec.recommend_from_items([[5]])
    with pytest.raises(ValueError, match="fit first"):
        Recommender("tiny").recommend()
    with pytest.raises(ValueError, match="model = 'nothing' must be one of"):
        Recommender("nothing")
    with pytest.raises(ConfigError, match=r"NextItemTrain has no field 'epochs'.* 'max_epochs'"):
        Recommender("tiny", train={"epochs": 3})
    with pytest.raises(ConfigError, match=r"NextItemData.max_length = 0"):
        Recommender("tiny", data={"max_length": 0})
    with pytest.raises(ValueError, match="split = 'temporal' were trained on"):
        rec.evaluate("temporal")


def bad(**columns):
    frame = pd.DataFrame(
        {"user_id": [1, 1, 1, 2], "item_id": [1, 2, 3, 1], "timestamp": [1.0, 2, 3, 4]}
    )
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (bad(user_id=[1, 1, "x", 2]), "user ids are of mixed types: int in row 0, str in row 2"),
        (bad(item_id=[1, None, 3, 1]), "row 1: the item id is missing"),
        (bad(item_id=[1.5, 2, 3, 1]), "item ids are floating-point"),
        (bad(timestamp=[1, np.nan, 3, 4]), "row 1: the time is missing"),
        (bad(timestamp=[1, np.inf, 3, 4]), "row 1: the time is missing or infinite"),
        (bad(timestamp=["a", "b", "c", "d"]), "neither numbers nor ISO dates"),
        (bad(user_id=1, item_id=[1, 2, 2, 1], timestamp=[1, 5, 5, 7]), "row 2: user 1, item 2"),
        (bad().drop(columns="item_id"), "no column 'item_id'"),
        (bad().head(0), "there is no event"),
    ],
)
def test_bad_tables_are_named(frame, message):
    with pytest.raises(InteractionError, match=message):
        fitted(frame)


def test_polars_parquet_csv(tmp_path, events):
    pl = pytest.importorskip("polars")
    few = events.head(400)
    train = {**QUICK, "max_epochs": 1}
    expected = fitted(few, train=train).recommend([2], k=3)
    out = fitted(pl.from_pandas(few), train=train).recommend([2], k=3)
    assert isinstance(out, pl.DataFrame)
    assert out["item_id"].to_list() == expected.item_id.tolist()
    few.to_csv(tmp_path / "a.csv", index=False)
    few.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        again = fitted(tmp_path / name, train=train).recommend([2], k=3)
        pd.testing.assert_frame_equal(again, expected)


def test_saved_and_loaded(rec, tmp_path):
    rec.save(tmp_path / "rec")
    again = Recommender.load(tmp_path / "rec")
    pd.testing.assert_frame_equal(again.recommend(k=3), rec.recommend(k=3))
    assert again.fitted.key == rec.fitted.key
    pd.testing.assert_frame_equal(again.evaluate().table, rec.evaluate().table)
    again.save(tmp_path / "rec")  # over itself
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="something else"):
        rec.save(tmp_path / "other")
    with pytest.raises(WeightsError, match="no saved recommender"):
        Recommender.load(tmp_path / "other")


def test_similar_items_are_of_the_same_group(rec):
    table = rec.similar_items(["i00", "i07"], k=8)
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8] * 2
    assert not (table.item_id == table.similar_id).any()
    groups = [int(i[1:]) % 6 for i in table.similar_id]
    assert np.mean([g == 0 for g in groups[:8]] + [g == 1 for g in groups[8:]]) > 0.5


# items come and go


def test_new_items_change_no_other_score(events):
    rec = fitted(events, train={**QUICK, "max_epochs": 1})
    before = rec.recommend([4], k=60, filter_seen=False)
    state = rec.update(rec.start(), "i03", 5)
    rec.add_items(["new", "newer"])
    assert "new" in rec.item_ids()
    after = rec.recommend([4], k=62, filter_seen=False)
    pd.testing.assert_frame_equal(before, after)  # by policy not recommended without a vector
    rec.update(state, "new", 6)  # states stay good, and read it
    rec.add_items(["strong"], vectors=100 * rec.user_vectors([4]))
    assert rec.recommend([4], k=1).item_id.tolist() == ["strong"]
    rec.remove_items(["strong"])
    pd.testing.assert_frame_equal(before, rec.recommend([4], k=62, filter_seen=False))
    with pytest.raises(InteractionError, match="item 'new' is in the catalogue already"):
        rec.add_items(["new"])
    with pytest.raises(InteractionError, match=r"vectors \(1, 3\)"):
        rec.add_items(["x"], vectors=[[1, 2, 3]])


COLD = Synthetic(users=250, cold=2, shortest=6, longest=14, stay=0.05, next=0.9)


@pytest.mark.slow
def test_cold_items_are_found_by_their_columns():
    options = {
        "fields": {"id_dropout": 0.3},
        "train": {**QUICK, "max_epochs": 25, "patience": None},
        "hold_out": "leave-one-out",
    }
    items = COLD.features()
    rec = fitted(COLD.events(), items, item_features=("group",), **options)
    without = fitted(COLD.events(), items, train=options["train"])
    ndcg = {}
    for name, one in (("with", rec), ("without", without)):
        table = one.evaluate(ks=(20,)).table.set_index(["model", "filter_seen"])
        ndcg[name] = table.loc[("tiny", True), "ndcg@20"]
        ndcg["popularity"] = table.loc[("popularity", True), "ndcg@20"]
    assert ndcg["with"] > 2 * ndcg["popularity"]
    assert ndcg["with"] > 1.3 * ndcg["without"]
    new = items.head(1).assign(item_id=1000)
    rec.add_items([1000], items=new)
    assert 1000 in set(rec.recommend(k=61, filter_seen=False).item_id)
    with pytest.raises(InteractionError, match="give a table"):
        rec.add_items([1001])


def test_columns_of_all_kinds_enter():
    frame = Synthetic(users=20).events()
    rng = np.random.default_rng(0)
    items = Synthetic().features().assign(vector=list(rng.normal(size=(60, 3))), flag=True)
    frame["price"] = rng.normal(size=len(frame))
    frame["shop"] = rng.choice(["a", "b"], size=len(frame))
    rec = fitted(
        frame,
        items,
        item_features=("group", "rank", "vector", "flag"),
        event_features=("price", "shop"),
        train={"max_epochs": 1, "batch_size": 8},
    )
    model = rec.fitted.model
    assert model.item_features.config.categories == (6, 1)
    assert model.item_features.config.numbers == 4
    assert len(rec.recommend([0], k=3)) == 3
    event = pd.DataFrame({"price": [0.2], "shop": ["unheard of"]})
    state = rec.update(rec.start(), 3, 1, features=event)
    other = rec.update(rec.start(), 3, 1, features=event.assign(price=2.0))
    assert rec.topk(state, 3) != rec.topk(other, 3)
    with pytest.raises(InteractionError, match="features has no column 'shop'"):
        rec.update(state, 3, 2)
    with pytest.raises(InteractionError, match="column 'price', row 0: nan"):
        rec.update(state, 3, 2, features=event.assign(price=np.nan))
    with pytest.raises(InteractionError, match="has events but no row in the table of items"):
        fitted(frame, items.head(3), item_features=("group",))


# states


def test_states_are_the_history(rec, events):
    users = [5, 9, 40]
    expected = rec.recommend(users, k=5, filter_seen=False)
    state = rec.start(3)
    parts = [events[events.user_id == user] for user in users]
    for row, part in enumerate(parts):
        own = state.select([row])
        for item, ts in zip(part.item_id, part.timestamp, strict=True):
            rec.update(own, item, ts)
        one = rec.topk(own, 5)[0]
        table = expected[expected.user_id == users[row]]
        assert [item for item, _ in one] == table.item_id.tolist()
        np.testing.assert_allclose([s for _, s in one], table.score, rtol=1e-4, atol=1e-5)
    joined = pd.concat(parts)
    rows = np.repeat(np.arange(3), [len(p) for p in parts])
    rec.replay(state, rows, joined.item_id.tolist(), joined.timestamp.tolist())
    assert state.counts.tolist() == [len(p) for p in parts]
    assert [len(a) for a in rec.topk(state, 5, exclude=[p.item_id for p in parts])] == [5] * 3


def test_batched_updates_are_single_ones(rec):
    both = rec.update(rec.start(2), ["i01", "i02"], [1, 2])
    rec.update(both, ["i07", "i08"], [3, 4])
    one = rec.update(rec.update(rec.start(), "i02", 2), "i08", 4)
    torch.testing.assert_close(
        both.select([1]).mixer.tensors["hidden"], one.mixer.tensors["hidden"]
    )
    joined = UserState.join([both, one])
    answers = [rec.topk(joined, 3)[1], rec.topk(joined, 3)[2], rec.topk(both, 3)[1]]
    assert all([i for i, _ in a] == [i for i, _ in rec.topk(one, 3)[0]] for a in answers)


def test_states_as_bytes(rec, events):
    state = rec.update(rec.start(), "i01", 7)
    again = UserState.from_bytes(state.to_bytes(), rec.start())
    for name, value in state.mixer.flatten().items():
        assert torch.equal(value, again.mixer.flatten()[name])
    assert again.times.tolist() == [7]
    other = fitted(events, train={"max_steps": 1})
    with pytest.raises(StaleStateError, match=rec.fitted.key):
        UserState.from_bytes(state.to_bytes(), other.start())
    with pytest.raises(StaleStateError):
        other.update(state, "i01", 8)
    with pytest.raises(StaleStateError):
        other.topk(state)
    for broken in (b"", b"12345678", state.to_bytes()[:-3]):
        with pytest.raises(StateError, match="no state of a user"):
            UserState.from_bytes(broken, rec.start())


def test_nothing_moves_when_an_event_is_refused(rec):
    state = rec.update(rec.start(2), ["i01", "i02"], [10, 10])
    before = state.to_bytes()
    with pytest.raises(OutOfOrderError, match="at 9 after one at 10"):
        rec.update(state, ["i01", "i02"], [11, 9])
    with pytest.raises(UnknownItemError):
        rec.update(state, ["i01", "zz"], [11, 11])
    with pytest.raises(StateError, match="not finite"):
        rec.update(state, ["i01", "i02"], [11, float("nan")])
    with pytest.raises(StateError, match="1 items and 1 times for a state of 2"):
        rec.update(state, "i01", 11)
    with pytest.raises(StateError, match="no ISO date"):
        rec.update(state, ["i01", "i02"], ["today", 3])
    assert state.to_bytes() == before
    rec.update(state, ["i01", "i02"], [10, 10])  # equal times are fine
    branch = state.copy()
    rec.update(branch, ["i05", "i05"], [12, 12])
    assert state.counts.tolist() == [2, 2]


# search


@pytest.mark.parametrize("block", [1, 7, 100])
def test_blocks_find_what_a_whole_table_finds(monkeypatch, block):
    monkeypatch.setattr("mamba_recsys.topk.ITEMS", block)
    monkeypatch.setattr("mamba_recsys.topk.USERS", 3)
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(-2, 3, (8, 4), generator=generator).float()  # many ties
    items = torch.randint(-2, 3, (50, 4), generator=generator).float()
    allowed = torch.arange(50) % 7 != 0
    exclude = [np.arange(u, 50, 11) for u in range(8)]
    scores, numbers = top_k(users, items, 46, exclude=exclude, allowed=allowed)
    whole = users @ items.T
    whole[:, ~allowed] = -torch.inf
    for u in range(8):
        whole[u, exclude[u]] = -torch.inf
    order = whole.argsort(dim=1, descending=True, stable=True)[:, :46]
    assert torch.equal(scores, whole.gather(1, order))
    finite = torch.isfinite(scores)
    assert torch.equal(numbers[finite], order[finite])
