"""Networks on the TU sets: ten folds with a nested hold-out, every network by the same rules.

    python -m mamba_graph.benchmarks.tu_folds --root ../shared/data/graph MUTAG gin gps \\
        graph_mamba_small
    python -m mamba_graph.benchmarks.tu_folds --root ... ENZYMES graph_mamba_small --order bfs

A fold's training graphs lose one fifth, by which the epoch is chosen; the test graphs are read
once, at the end. Node numbers are drawn anew at every visit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamba_core import registry
from mamba_graph.benchmarks.fit import FitOptions, fit, measure
from mamba_graph.data.config import Collection
from mamba_graph.graph_level.config import GraphsData
from mamba_graph.graph_level.data import GraphsDataset

DEGREES = 64
"""Columns of the degree for sets without node features."""


def model_fields(root: Path, name: str, preset: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that a set needs, and a preset's own, changed where asked for."""
    from mamba_graph.data.read import read
    from mamba_graph.networks.presets import PRESETS

    graphs = read(Collection(name=name, root=root / "pyg"))
    first = graphs[0]
    fields: dict[str, Any] = {
        "classes": 1 + max(int(graph.y) for graph in graphs),
        "features": DEGREES if first.x is None else first.x.shape[1],
        "edge_features": 0 if first.edge_attr is None else first.edge_attr.shape[1],
        "dropout": 0.1,
    }
    network = {**PRESETS[preset].get("network", {}), **changes}
    return {**fields, "network": network}


def run(
    root: Path, name: str, preset: str, options: FitOptions, changes: dict[str, Any], folds: int
) -> Iterator[dict[str, Any]]:
    """Train and test each fold; yield accuracy, epoch and time."""
    fields = model_fields(root, name, preset, changes)
    for fold in range(1, folds + 1):
        torch.manual_seed(options.seed)
        model = registry.build("graph-cls", preset=preset, **fields)
        data = GraphsDataset(
            GraphsData(
                source=Collection(name=name, root=root / "pyg"),
                folds=root / "folds" / f"{name}.txt",
                fold=fold,
            ),
            model.task.config,  # type: ignore[union-attr, arg-type]
        )
        parts = data.train(seed=options.seed), data.val(seed=0), data.test(seed=0)
        fitted = fit("graph-cls", model, *parts[:2], options, "accuracy")
        yield {
            "fold": fold,
            "accuracy": measure("graph-cls", fitted.model, parts[2], 128)["accuracy"],
            "val": fitted.score,
            "epoch": fitted.epoch,
            "seconds_per_epoch": fitted.seconds / fitted.epochs,
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def main() -> None:
    """Print a line per fold to the error stream, one per network to the output."""
    import sys

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", help="name of a TU set")
    parser.add_argument("presets", nargs="+", help="presets of graph-cls")
    parser.add_argument("--root", type=Path, required=True, help="folder with pyg/ and folds/")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folds", type=int, default=10, help="the first so many")
    parser.add_argument("--order", help="of the nodes, in place of the preset's")
    given = parser.parse_args()
    options = FitOptions(epochs=given.epochs, batch_size=given.batch, lr=given.lr, seed=given.seed)
    changes = {} if given.order is None else {"order": given.order}
    for preset in given.presets:
        rows = []
        for row in run(given.root, given.set, preset, options, changes, given.folds):
            rows.append(row)
            print(f"{given.set} {preset} {row}", file=sys.stderr, flush=True)
        found = np.array([100 * row["accuracy"] for row in rows])
        summary = {
            "set": given.set,
            "preset": preset,
            "order": given.order,
            "accuracy": f"{found.mean():.1f} ± {found.std():.1f}",
            "folds": len(rows),
            "epochs": given.epochs,
            "seed": given.seed,
            "seconds_per_epoch": round(float(np.mean([r["seconds_per_epoch"] for r in rows])), 2),
            "parameters": rows[0]["parameters"],
        }
        print(json.dumps(summary, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
