"""The protocol: published cells of the counting baselines, ranks, ties, splits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mamba_recsys import interactions as I
from mamba_recsys.baselines import BASELINES, transitions
from mamba_recsys.evaluation import evaluate
from mamba_recsys.ranking import gain, hit, ranks, reciprocal
from mamba_recsys.readers import read
from mamba_recsys.synthetic import Synthetic

SETS = {
    "ml-100k/ml-100k.inter": (0, 200, (943, 1682, 100_000)),
    "beauty/Beauty.txt": (0, 50, (22_363, 12_101, 198_502)),
    "ml-1m/ml1m_sequences.npz": (5, 200, (6040, 3416, 999_611)),
}
# HR, NDCG, MRR at 10: plain, then without seen items; two independent programs agreed on them
CELLS = {
    "ml-100k/ml-100k.inter": {
        "popularity": (0.0498, 0.0224, 0.0142, 0.0838, 0.0436, 0.0315),
        "markov-1": (0.1092, 0.0552, 0.0390, 0.1442, 0.0766, 0.0562),
        "window-markov": (0.1368, 0.0728, 0.0537, 0.2015, 0.1126, 0.0859),
        "item-knn": (0.0551, 0.0289, 0.0212, 0.1092, 0.0565, 0.0407),
        "item-knn-last": (0.0976, 0.0502, 0.0362, 0.1686, 0.0937, 0.0710),
        "directional-knn": (0.1336, 0.0711, 0.0522, 0.1898, 0.0987, 0.0714),
    },
    "beauty/Beauty.txt": {
        "popularity": (0.0106, 0.0051, 0.0034, 0.0110, 0.0053, 0.0035),
        "markov-1": (0.0656, 0.0427, 0.0356, 0.0666, 0.0439, 0.0369),
        "window-markov": (0.0745, 0.0450, 0.0360, 0.0801, 0.0500, 0.0408),
        "item-knn": (0.0457, 0.0237, 0.0171, 0.0569, 0.0326, 0.0252),
        "item-knn-last": (0.0552, 0.0309, 0.0236, 0.0643, 0.0386, 0.0308),
        "directional-knn": (0.0703, 0.0423, 0.0338, 0.0747, 0.0472, 0.0388),
    },
    "ml-1m/ml1m_sequences.npz": {
        "popularity": (0.0189, 0.0093, 0.0065, 0.0394, 0.0194, 0.0135),
        "markov-1": (0.1637, 0.0919, 0.0700, 0.1919, 0.1122, 0.0879),
        "window-markov": (0.2045, 0.1178, 0.0913, 0.2606, 0.1520, 0.1190),
        "item-knn": (0.0493, 0.0242, 0.0166, 0.0758, 0.0398, 0.0288),
        "item-knn-last": (0.1197, 0.0630, 0.0459, 0.1692, 0.0957, 0.0734),
        "directional-knn": (0.2091, 0.1182, 0.0908, 0.2508, 0.1435, 0.1110),
    },
}


def check_cells(folder, name, baselines):
    least, longest, sizes = SETS[name]
    data = I.make_interactions(*read(folder / name), min_item_events=least)
    assert (len(data.users), len(data.catalogue), len(data.items)) == sizes
    parts = I.leave_one_out(data)
    histories = I.training_histories(data, parts)
    for kind in baselines:
        scorer = BASELINES[kind](histories, len(data.catalogue))
        table = evaluate(scorer, data, parts.test, longest=longest).table()
        found = [table[f"{m}@10"][row] for row in (0, 1) for m in ("hr", "ndcg", "mrr")]
        np.testing.assert_allclose(found, CELLS[name][kind], atol=5.1e-5, rtol=0, err_msg=kind)


def test_published_cells_of_the_small_set(real_sets):
    check_cells(real_sets, "ml-100k/ml-100k.inter", BASELINES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beauty/Beauty.txt", "ml-1m/ml1m_sequences.npz"])
def test_published_cells(real_sets, name):
    check_cells(real_sets, name, BASELINES)


# ranks


def test_rank_counts_greater_and_half_of_the_equal():
    scores = torch.tensor([[3.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]])
    assert ranks(scores, torch.tensor([2, 0])).tolist() == [2.5, 2.5]


def test_a_constant_score_is_no_hit():
    rank = ranks(torch.zeros(5, 100), torch.arange(5))
    assert rank.tolist() == [50.5] * 5
    assert hit(rank, 10).sum() == 0


def test_a_target_that_is_no_candidate_is_a_miss():
    scores = torch.tensor([[-torch.inf, -torch.inf, 0.0]])
    rank = ranks(scores, torch.tensor([0]))
    assert rank.tolist() == [math.inf]
    assert [float(f(rank, 10)) for f in (hit, gain, reciprocal)] == [0, 0, 0]


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 10_000))
def test_measures_are_those_of_a_sorted_list(items, k, seed):
    rng = np.random.default_rng(seed)
    scores = rng.permutation(items).astype(float)
    target = int(rng.integers(items))
    place = int((scores > scores[target]).sum()) + 1
    rank = ranks(torch.from_numpy(scores)[None], torch.tensor([target]))
    inside = place <= k
    assert float(hit(rank, k)) == inside
    assert float(gain(rank, k)) == pytest.approx(inside / math.log2(1 + place))
    assert float(reciprocal(rank, k)) == pytest.approx(inside / place)


# splits


def toy(seed=0, **fields):
    frame = Synthetic(users=30, seed=seed, **fields).events()
    return frame, I.make_interactions(
        frame.user_id.to_numpy(), frame.item_id.to_numpy(), frame.timestamp.to_numpy(float)
    )


def test_leave_one_out_holds_the_last_two_out():
    _, data = toy()
    parts = I.leave_one_out(data)
    for user in range(len(data.users)):
        history = data.history(user).tolist()
        place = data.offsets[user + 1] - 1
        assert place in parts.test
        assert place - 1 in parts.val
        (context,) = I.contexts(data, np.array([place]))
        assert context.tolist() == history[:-1]
        assert I.training_histories(data, parts)[user].tolist() == history[:-2]


def test_short_users_train_only():
    data = I.make_interactions(np.array([1, 1, 2, 2, 2]), np.array([1, 2, 1, 2, 3]))
    parts = I.leave_one_out(data)
    assert parts.test.tolist() == [4]
    assert parts.train_end.tolist() == [2, 3]


def test_no_future_in_temporal_training():
    _, data = toy(spread=10)
    parts = I.temporal(data, val_share=0.1, test_share=0.2)
    training = I.training_rows(data, parts)
    assert 0.6 < training.mean() < 0.8
    assert data.times[training].max() < data.times[parts.val].min()
    assert data.times[parts.val].max() < data.times[parts.test].min()
    for places, part in ((parts.val, "val"), (parts.test, "test")):
        before = data.times[places - 1]
        assert (before < data.times[places].min()).all(), part


def test_equal_times_keep_the_order_of_the_rows():
    users = np.array([1, 1, 1, 0, 0])
    items = np.array([5, 3, 4, 9, 8])
    data = I.make_interactions(users, items, np.array([7.0, 7.0, 1.0, 2.0, 2.0]))
    assert data.catalogue[data.history(0)].tolist() == [9, 8]
    assert data.catalogue[data.history(1)].tolist() == [4, 5, 3]


@given(st.integers(0, 10_000))
def test_rows_of_different_times_may_come_in_any_order(seed):
    frame, data = toy()
    mixed = frame.sample(frac=1, random_state=seed)
    again = I.make_interactions(
        mixed.user_id.to_numpy(), mixed.item_id.to_numpy(), mixed.timestamp.to_numpy(float)
    )
    assert np.array_equal(data.items, again.items)
    assert np.array_equal(data.offsets, again.offsets)


def test_items_are_filtered_before_users():
    users = np.array([1, 1, 1, 2, 2, 2])
    items = np.array([1, 2, 9, 1, 2, 2])
    data = I.make_interactions(users, items, min_item_events=2, min_user_events=3)
    assert data.users.tolist() == [2]
    assert data.catalogue.tolist() == [1, 2]


# counting


def test_transitions_by_hand():
    table = transitions([np.array([0, 1, 2]), np.array([1, 2])], 3, window=2).toarray()
    assert table.tolist() == [[0, 1, 0.5], [0, 0, 2], [0, 0, 0]]


def test_counting_finds_the_chain():
    _, data = toy(skew=0.0, items=12)
    parts = I.leave_one_out(data)
    histories = I.training_histories(data, parts)
    found = {
        name: evaluate(BASELINES[name](histories, 12), data, parts.test, k=3).table((3,))
        for name in ("popularity", "markov-1")
    }
    assert found["markov-1"]["hr@3"][0] > found["popularity"]["hr@3"][0] + 0.2


def test_reports_add_up(monkeypatch):
    _, data = toy()
    monkeypatch.setattr("mamba_recsys.evaluation.SCORES", 7 * len(data.catalogue))
    parts = I.leave_one_out(data)
    scorer = BASELINES["popularity"](I.training_histories(data, parts), len(data.catalogue))
    found = evaluate(scorer, data, parts.test)
    table = found.table((1, 10))
    assert table["coverage@10"][0] == pytest.approx(10 / len(data.catalogue))
    for report in (
        found.by_popularity(I.training_counts(data, parts)),
        found.by_length(edges=(8, 20)),
    ):
        assert report["users"].sum() == len(data.users)
        mean = (report["hr@10"] * report["users"]).sum() / len(data.users)
        assert mean == pytest.approx(table["hr@10"][0])
