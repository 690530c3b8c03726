"""Files, samples and negatives of ``rec-next``; its commands."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from mamba_core import registry
from mamba_core.cli import main
from mamba_core.testing.checks.data import data_module_smoke
from mamba_core.testing.subject import TaskUnderTest
from mamba_recsys.interactions import InteractionError, make_interactions
from mamba_recsys.next_item.config import Binary, NextItemData, SampledSoftmax
from mamba_recsys.next_item.data import NextItemDataset
from mamba_recsys.next_item.metrics import metrics
from mamba_recsys.next_item.objective import IGNORE, loss
from mamba_recsys.readers import read
from mamba_recsys.synthetic import Synthetic

EVENTS = Synthetic(users=30).events()


@pytest.fixture
def path(tmp_path):
    EVENTS.to_csv(tmp_path / "events.csv", index=False)
    return tmp_path / "events.csv"


def dataset(path, **fields):
    config = NextItemData(path=path, **fields)
    return NextItemDataset(config, registry.config("rec-next", preset="tiny"))


def equal(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


# samples


def test_conformance_of_the_data(path):
    data_module_smoke.run(TaskUnderTest("rec-next", data={"path": path}))


def test_all_positions_of_a_history_once(path):
    data = dataset(path, max_length=None)
    split = data.train(seed=0)
    batch = split.collate([split.sample(0, k) for k in range(len(split))])
    assert batch["cu_seqlens"].diff().tolist() == [
        len(h) - 1 for h in (data.interactions.history(u)[:-2] for u in range(30))
    ]
    for user in range(30):
        history = data.interactions.history(user)[:-2].tolist()
        rows = slice(*batch["cu_seqlens"][user : user + 2].tolist())
        assert batch["items"][rows].tolist() == history[:-1]
        assert batch["targets"][rows].tolist() == history[1:]


def test_long_histories_are_cut_at_other_places_in_every_epoch(path):
    split = dataset(path, max_length=7).train(seed=0)
    places = set()
    for epoch in range(12):
        sample = split.sample(epoch, 3)
        assert sample["lengths"].sum() == len(sample["items"])
        assert int(sample["lengths"].max()) <= 7
        assert int(sample["lengths"].min()) >= 1
        places.add(tuple(sample["lengths"].tolist()))
    assert len(places) > 3
    assert equal(split.sample(4, 3), split.sample(4, 3))


def test_one_target_to_measure(path):
    data = dataset(path, max_length=6)
    for split, held in ((data.val(seed=0), 2), (data.test(seed=0), 1)):
        sample = split.sample(0, 5)
        history = data.interactions.history(5)
        assert sample["items"].tolist() == history[:-held][-6:].tolist()
        assert sample["targets"].tolist() == [IGNORE] * (len(sample["items"]) - 1) + [
            history[len(history) - held]
        ]


def test_drawn_items_follow_their_probabilities(path):
    data = dataset(path, objective=SampledSoftmax(negatives=400, power=1.0))
    split = data.train(seed=0)
    batch = split.collate([split.sample(e, k) for e in range(5) for k in range(len(split))])
    counts = np.bincount(batch["negatives"].numpy(), minlength=60)
    expected = np.zeros(60)
    log = batch["log_expected"].exp()
    expected[batch["negatives"].numpy()] = log.numpy()
    common = expected > 200
    np.testing.assert_allclose(counts[common], expected[common], rtol=0.25)
    assert not equal(split.sample(0, 0), split.sample(1, 0))


@pytest.mark.parametrize(
    "objective", [SampledSoftmax(negatives=9), Binary(negatives=3, calibration=0.5), None]
)
def test_every_objective_trains(path, objective):
    fields = {} if objective is None else {"objective": objective}
    split = dataset(path, **fields).train(seed=0)
    model = registry.build("rec-next", preset="tiny")
    batch = split.collate([split.sample(0, k) for k in range(len(split))])
    subject = TaskUnderTest("rec-next")
    values = []
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(12):
        value = loss(subject.forward(model, batch), batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.97 * values[0]


def test_another_number_of_items_is_named(path):
    with pytest.raises(InteractionError, match=r"60 items.*--model\.items 60"):
        NextItemDataset(NextItemData(path=path), registry.config("rec-next", items=61))


# files


def test_forms_of_files(tmp_path):
    users, items, times = [4, 4, 9], [10, 11, 10], [3.0, 5.0, 4.0]
    frame = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    typed = {name: f"{name}:token" for name in frame}
    frame.assign(rating=3).rename(columns=typed).to_csv(tmp_path / "a.inter", sep="\t", index=False)
    rows = zip(users, items, times, strict=True)
    lines = [(u, i, 5, int(t)) for u, i, t in rows]
    for name, mark in (("ratings.dat", "::"), ("u.data", "\t")):
        (tmp_path / name[0]).mkdir()
        text = "\n".join(mark.join(map(str, line)) for line in lines)
        (tmp_path / name[0] / name).write_text(text)
    (tmp_path / "c").mkdir()
    named = frame.rename(columns=dict(zip(frame, ("userId", "movieId", "timestamp"), strict=True)))
    named.to_csv(tmp_path / "c" / "ratings.csv", index=False)
    for name in ("a.csv", "a.tsv", "a.inter", "r", "u", "c"):
        found = read(tmp_path / name)
        assert [part.tolist() for part in found] == [users, items, times], name


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    frame = pd.DataFrame({"user_id": [4, 9], "item_id": [10, 11], "timestamp": [3.0, 5.0]})
    frame.to_parquet(tmp_path / "a.parquet")
    assert [part.tolist() for part in read(tmp_path / "a.parquet")] == [[4, 9], [10, 11], [3, 5]]


def test_sequences(tmp_path):
    (tmp_path / "a.txt").write_text("4 10 11\n9 10\n")
    offsets = np.array([0, 2, 3])
    np.savez(tmp_path / "a.npz", items=[10, 11, 10], offsets=offsets, user_ids=[4, 9])
    for name in ("a.txt", "a.npz"):
        users, items, times = read(tmp_path / name)
        assert (users.tolist(), items.tolist(), times) == ([4, 4, 9], [10, 11, 10], None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "4 x\n", "line 1: expected 'user item item"),
        ("a.csv", "user,item\n1,2\n", "no column 'user_id'"),
        ("a.xyz", "", "its form is not known"),
        ("a.csv", "user_id,item_id,timestamp\n1,2,\n", "row 0: the time is missing"),
        ("a.csv", "user_id,item_id,timestamp\n1,2,noon\n", "neither numbers nor ISO dates"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InteractionError, match=message):
        read(tmp_path / name)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match=r"holds none of ratings\.dat"):
        read(tmp_path)


def test_dates_are_seconds(tmp_path):
    text = "user_id,item_id,timestamp\n1,2,1970-01-02T00:00:00\n1,3,1970-01-01T00:00:10\n"
    (tmp_path / "a.csv").write_text(text)
    assert read(tmp_path / "a.csv")[2].tolist() == [86400.0, 10.0]


def test_duplicates_by_rule():
    users, items, times = np.array([1, 1, 1]), np.array([2, 2, 2]), np.array([5.0, 5.0, 6.0])
    with pytest.raises(InteractionError, match="row 1: user 1, item 2, time 5 was there before"):
        make_interactions(users, items, times)
    sizes = [
        len(make_interactions(users, items, times, duplicates=rule).items)
        for rule in ("drop", "keep")
    ]
    assert sizes == [2, 3]


# commands


def run(*words):
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    assert done.value.code == 0


@pytest.mark.slow
def test_train_evaluate_predict(path, tmp_path, capsys):
    pytest.importorskip("lightning")
    run(
        "train", "rec-next", "--preset", "tiny", "--data.path", path, "--train.max_epochs", 4,
        "--train.lr", 0.01, "--train.warmup_steps", 4, "--train.device", "cpu",
        "--out", tmp_path / "run",
    )  # fmt: skip
    capsys.readouterr()
    run("eval", tmp_path / "run", "--json", "--batch-size", 8)
    measured = json.loads(capsys.readouterr().out)["metrics"]
    assert 0 < measured["ndcg"] <= measured["hr"] <= 1
    run(
        "predict", tmp_path / "run", path, "--predict.catalogue", path, "--predict.k", 3,
        "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "events_recommendations.csv")
    assert table.groupby("user_id").size().tolist() == [3] * 30
    seen = EVENTS[["user_id", "item_id"]].drop_duplicates()
    assert table.merge(seen).empty


def test_half_precision_makes_no_ties_of_scores():
    generator = torch.Generator().manual_seed(0)
    items = torch.nn.functional.normalize(torch.randn(4000, 8, generator=generator), dim=-1)
    hidden = torch.nn.functional.normalize(torch.randn(20, 8, generator=generator), dim=-1) / 0.05
    batch = {
        "items": torch.zeros(20, dtype=torch.int64),
        "targets": (hidden @ items.T).topk(5).indices[:, -1],
        "cu_seqlens": torch.tensor([0, 20], dtype=torch.int32),
    }
    outputs = {"hidden": hidden, "item_vectors": items}
    mrr = metrics()["mrr"]
    exact = mrr.values(outputs, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mrr.values(outputs, batch), exact)
