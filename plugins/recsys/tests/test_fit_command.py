"""``mamba-core fit``: tables with columns in, a folder that serves out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mamba_core.cli import main
from mamba_recsys import InteractionError, Recommender, SessionRecommender
from mamba_recsys.frame import as_pandas, as_rows
from mamba_recsys.readers import Columns
from mamba_recsys.synthetic import Synthetic

TRAIN = json.dumps({"max_epochs": 2, "batch_size": 16})


def run(capsys, *words, code=0):
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    captured = capsys.readouterr()
    assert done.value.code == code, captured.err
    return captured


@pytest.fixture
def tables(tmp_path):
    made, rng = Synthetic(users=30), np.random.default_rng(0)
    events = made.events()
    events["price"] = rng.normal(size=len(events)).round(2)
    events["shop"] = rng.choice(["a", "b"], size=len(events))
    events.to_csv(tmp_path / "events.csv", index=False)
    items = made.features()
    items["vector"] = [json.dumps(row.tolist()) for row in rng.normal(size=(60, 3)).round(3)]
    items.to_csv(tmp_path / "items.csv", index=False)
    return tmp_path


def test_columns_of_all_kinds_from_the_command_line(tables, capsys):
    made = run(
        capsys, "fit", "rec-next", tables / "events.csv", "--items", tables / "items.csv",
        "--item-features", "group,rank,vector", "--event-features", "price,shop",
        "--preset", "tiny", "--train", TRAIN, "--out", tables / "shop", "--json",
    )  # fmt: skip
    report = json.loads(made.out)["report"]
    assert {row["model"] for row in report} == {
        "tiny", "popularity", "markov-1", "window-markov",
    }  # fmt: skip
    assert {row["filter_seen"] for row in report} == {True, False}
    rec = Recommender.load(tables / "shop")
    assert rec.fitted.model.item_features.config.categories == (6,)
    assert rec.fitted.model.item_features.config.numbers == 4
    assert rec.fitted.model.event_features.config.categories == (2,)
    assert len(rec.recommend([0], k=3)) == 3


def test_sessions_from_the_command_line(tables, capsys):
    made = run(
        capsys, "fit", "rec-session", tables / "events.csv", "--user", "user_id", "--gap", 90_000,
        "--preset", "tiny", "--train", TRAIN, "--out", tables / "clicks",
    )  # fmt: skip
    assert "hr@20" in made.out
    assert "mamba-core serve rec-session" in made.out
    assert SessionRecommender.load(tables / "clicks").gap == 90_000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--item-features", "colour"), "give fit(df, items)"),
        (("--event-features", "colour"), "no column 'colour'"),
        (("--train", "{epochs"), "is not JSON"),
        (("--train", '{"epochs": 3}'), "epochs"),
        (("--preset", "huge"), "must be one of"),
        (("--hold-out", "sessions"), "'leave-one-out', 'temporal' or None"),
        (("--gap", "5"), "--gap 5 cuts sessions"),
    ],
)
def test_bad_words_are_named(tables, capsys, words, says):
    given = ["--preset", "tiny", *words] if "--preset" not in words else list(words)
    captured = run(
        capsys, "fit", "rec-next", tables / "events.csv", "--out", tables / "a", *given, code=1
    )
    assert says in captured.err
    assert not (tables / "a").exists()


def test_recboles_columns_keep_their_types(tmp_path):
    (tmp_path / "a.item").write_text(
        "item_id:token\tyear:token\tscore:float\tplace:float_seq\n"
        "1\t1995\t0.5\t1.5 2\n2\t\t1\t3 4\n"
    )
    table, _ = as_pandas(tmp_path / "a.item")
    assert table["item_id"].tolist() == [1, 2]
    assert table["place"].tolist() == [[1.5, 2.0], [3.0, 4.0]]
    assert pd.api.types.is_numeric_dtype(table["score"])
    assert not pd.api.types.is_numeric_dtype(table["year"])
    assert table["year"].fillna("none").tolist() == ["1995", "none"]
    (tmp_path / "a.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t2\t3\t10\n"
    )
    rows, _ = as_rows(tmp_path / "a.inter", Columns())
    assert list(rows) == ["user_id", "item_id", "rating", "timestamp"]


def test_half_a_column_of_lists_is_named(tmp_path):
    (tmp_path / "a.csv").write_text('item_id,v\n1,"[1, 2]"\n2,none\n')
    with pytest.raises(InteractionError, match="column 'v': the first row is a list"):
        as_pandas(tmp_path / "a.csv")
