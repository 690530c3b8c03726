"""Training, evaluation and prediction of every task, through the same calls as the commands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mamba_core

pytest.importorskip("lightning")


@pytest.fixture
def files(tmp_path):
    """Twelve graphs, rings and stars by turns, in two csv files; a number per graph too."""
    nodes, edges = [], []
    for k in range(12):
        ids = np.arange(5 + k % 3)
        ring = k % 2 == 0
        source = ids if ring else ids[1:]
        target = np.roll(ids, -1) if ring else np.zeros_like(ids[1:])
        table = {"graph": k, "id": ids, "a": 1.0, "b": ids % 2, "ring": int(ring), "size": len(ids)}
        nodes.append(pd.DataFrame(table))
        edges.append(pd.DataFrame({"graph": k, "source": source, "target": target}))
    pd.concat(nodes).to_csv(tmp_path / "n.csv", index=False)
    pd.concat(edges).to_csv(tmp_path / "n_edges.csv", index=False)
    return tmp_path


CASES = {
    "graph-cls": ("ring", {"features": 3}, {}, 12),
    "graph-reg": ("size", {"features": 3}, {}, 12),
    "graph-node": ("ring", {"features": 3}, {"parts": 2}, None),
    "graph-link": (None, {"features": 4}, {"val_share": 0.2, "test_share": 0.2}, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", CASES)
def test_train_eval_predict(task, files):
    target, model, data, rows = CASES[task]
    source = {
        "kind": "tables",
        "nodes": str(files / "n.csv"),
        "edges": str(files / "n_edges.csv"),
        "graph": "graph",
        "target": target,
    }
    train = {"max_steps": 4, "batch_size": 2, "val_every": 2, "device": "cpu"}
    result = mamba_core.train(
        task,
        preset="tiny",
        model=model,
        data={"source": source, **data},
        train=train,
        out=files / "run",
    )
    assert np.isfinite(result.score)
    found = mamba_core.evaluate(files / "run", device="cpu")
    assert all(np.isfinite(value) for value in found.metrics.values())
    table = pd.read_csv(files / "n.csv")
    if rows is None:
        kept = table["graph"] == 3
        edges = pd.read_csv(files / "n_edges.csv")
        edges[edges["graph"] == 3].drop(columns="graph").to_csv(files / "n_edges.csv", index=False)
        table = table[kept].drop(columns="graph")
    drop = [target] if target else []
    table.drop(columns=drop).to_csv(files / "n.csv", index=False)
    (row,) = mamba_core.predict(files / "run", [files / "n.csv"], files / "out", device="cpu")
    assert row["rows"] == (rows or row["rows"]) > 0
