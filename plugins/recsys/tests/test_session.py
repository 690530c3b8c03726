"""Sessions: conformance, how they are cut, and that a chain in them is learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamba_core import registry
from mamba_core.testing import parametrize_task_checks
from mamba_recsys.interactions import InteractionError
from mamba_recsys.next_item.objective import IGNORE, loss
from mamba_recsys.next_item.predict import FileRecommender
from mamba_recsys.session.config import SessionData, SessionPredict
from mamba_recsys.session.data import SessionDataset, cut_by_pauses
from mamba_recsys.session.metrics import metrics
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
    parts = [begins[s] for s in (data.train_sessions, data.val_sessions, data.test_sessions)]
    assert [len(p) for p in parts] == [120, 15, 15]
    assert parts[0].max() <= parts[1].min()
    assert parts[1].max() <= parts[2].min()
    assert len(data.train(seed=0)) == 120


def test_every_event_but_the_first_is_a_target(path):
    data = dataset(path, max_length=4)
    split = data.test(seed=0)
    for index in range(len(split)):
        sample = split.sample(0, index)
        session = data.interactions.history(int(data.test_sessions[index]))
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
