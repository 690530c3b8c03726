"""Search among the items' vectors: exact, and by faiss where it is installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from mamba_core.registry import DependencyMissingError
from mamba_recsys import InteractionError, Recommender
from mamba_recsys.index import ExactIndex, FaissIndex
from mamba_recsys.synthetic import Synthetic

needs_faiss = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None,
    reason="faiss is not installed: pip install faiss-cpu",
)


def vectors(count, seed=0, d=16):
    return np.random.default_rng(seed).normal(size=(count, d)).astype(np.float32)


def test_exact_search_is_a_sorted_table():
    items, users = vectors(50_000), vectors(3, seed=1)
    scores, numbers = ExactIndex(items).search(users, 5)
    table = users @ items.T
    expected = np.argsort(-table, axis=1, kind="stable")[:, :5]
    assert numbers.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, np.take_along_axis(table, expected, 1), rtol=1e-5)


@needs_faiss
def test_an_index_finds_almost_all_of_the_best():
    items, users = vectors(3000), vectors(50, seed=1)
    _, exact = ExactIndex(items).search(users, 10)
    scores, found = FaissIndex(items).search(users, 10)
    hits = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert np.mean(hits) > 9
    own = np.take_along_axis(users @ items.T, found, 1)
    np.testing.assert_allclose(scores, own, rtol=1e-4, atol=1e-4)


def fitted():
    torch.manual_seed(0)
    events = Synthetic(users=30).events()
    events["item_id"] = [f"i{i:02}" for i in events["item_id"]]
    return Recommender("tiny", train={"max_epochs": 1}).fit(events)


@needs_faiss
def test_what_is_exported_finds_what_is_recommended(tmp_path):
    import faiss

    rec = fitted()
    rec.remove_items(["i03"])
    names = [path.name for path in rec.export_vectors(tmp_path / "index")]
    assert names == ["vectors.npy", "ids.npy", "items.faiss"]
    index = faiss.read_index(str(tmp_path / "index" / "items.faiss"))
    ids = np.load(tmp_path / "index" / "ids.npy", allow_pickle=False)
    assert "i03" not in set(ids)
    _, found = index.search(rec.user_vectors([4, 7]), 5)
    expected = rec.recommend([4, 7], k=5, filter_seen=False).item_id
    assert ids[found.ravel()].tolist() == expected.tolist()
    with pytest.raises(InteractionError, match="is there already"):
        rec.export_vectors(tmp_path / "index")


def test_without_faiss_vectors_are_exported_alone(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "faiss" else find(name, *a)
    )
    paths = fitted().export_vectors(tmp_path)
    assert [path.name for path in paths] == ["vectors.npy", "ids.npy"]
    with pytest.raises(DependencyMissingError, match=r"pip install 'mamba-recsys\[ann\]'"):
        FaissIndex(vectors(5))
