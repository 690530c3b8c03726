"""Solubility of molecules (ESOL): baselines of the file itself, and any preset beside them.

    python -m mamba_graph.benchmarks.esol --root ../shared/data/graph/pyg mean ridge formula
    python -m mamba_graph.benchmarks.esol --root ... graph_mamba_small gin --seeds 3

Needs the extra ``molecules``. Parts of 902, 113 and 113 molecules by
``numpy.random.default_rng(seed).permutation``; RMSE in log mol/l; the epoch is chosen by
validation.
"""

from __future__ import annotations

import argparse
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mamba_core import registry
from mamba_core.cli.output import terminal_track
from mamba_graph.benchmarks.fit import FitOptions, fit, measure
from mamba_graph.benchmarks.record import Record, Row
from mamba_graph.data.config import Collection
from mamba_graph.graph_level.config import GraphsData
from mamba_graph.graph_level.data import GraphsDataset, drawn_parts

TARGET = "measured log solubility in mols per litre"
FORMULA = "ESOL predicted log solubility in mols per litre"
DESCRIPTORS = [
    "Minimum Degree",
    "Molecular Weight",
    "Number of H-Bond Donors",
    "Number of Rings",
    "Number of Rotatable Bonds",
    "Polar Surface Area",
]
ATOMS = (119, 9, 11, 12, 9, 5, 8, 2, 2)
"""Categories of PyG's nine atom features."""
BONDS = (22, 6, 2)
"""Categories of its three bond features."""
BASELINES = ("mean", "ridge", "formula")


def baseline(table: pd.DataFrame, name: str, seed: int) -> float:
    """Return the test RMSE of a baseline."""
    train, _, test = drawn_parts(len(table), 0.1, 0.1, seed)
    y = table[TARGET].to_numpy()
    if name == "formula":
        guess = table[FORMULA].to_numpy()[test]
    elif name == "mean":
        guess = np.full(len(test), y[train].mean())
    else:
        x = table[DESCRIPTORS].to_numpy(dtype=float)
        x = (x - x[train].mean(0)) / np.maximum(x[train].std(0), 1e-9)
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        weights = np.linalg.solve(x[train].T @ x[train] + np.eye(x.shape[1]), x[train].T @ y[train])
        guess = x[test] @ weights
    return float(np.sqrt(np.mean((guess - y[test]) ** 2)))


def preset_row(root: Path, run: Row) -> Row:
    """Train a preset on the parts of a seed; return the test RMSE and what was seen."""
    torch.manual_seed(run["seed"])
    model = registry.build(
        "graph-reg",
        preset=run["model"],
        features=len(ATOMS),
        categories=ATOMS,
        edge_features=len(BONDS),
        edge_categories=BONDS,
        pool="sum",
        target_mean=-3.05,
        target_scale=2.1,
        dropout=0.1,
    )
    source = Collection(family="moleculenet", name="ESOL", root=root)
    config: Any = model.task.config  # type: ignore[union-attr]
    data = GraphsDataset(GraphsData(source=source, split_seed=run["seed"]), config)
    train, val, test = data.train(seed=run["seed"]), data.val(seed=0), data.test(seed=0)
    options = FitOptions(
        epochs=run["epochs"], batch_size=run["batch"], lr=run["lr"], seed=run["seed"]
    )
    fitted = fit("graph-reg", model, train, val, options, "rmse")
    return {
        "rmse": measure("graph-reg", fitted.model, test, 128)["rmse"],
        "val": fitted.score,
        "best_epoch": fitted.epoch,
        "seconds_per_epoch": fitted.seconds / fitted.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def measured(root: Path, run: Row) -> Row:
    """Return the test RMSE of one model and seed."""
    if run["model"] not in BASELINES:
        return preset_row(root, run)
    table = pd.read_csv(root / "esol" / "raw" / "delaney-processed.csv")
    return {"rmse": baseline(table, run["model"], run["seed"])}


def main() -> None:
    """Print a line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help=f"{', '.join(BASELINES)}, or presets")
    parser.add_argument("--root", type=Path, required=True, help="folder with esol/raw")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--record", type=Path, help="file of results; runs in it are not repeated")
    given = parser.parse_args()
    torch.set_num_threads(1)
    record = Record(given.record)
    trained = {name: getattr(given, name) for name in ("epochs", "batch", "lr")}
    found: dict[str, list[Row]] = {}
    plan = list(itertools.product(range(given.seeds), given.models))
    for seed, model in terminal_track(plan, lambda one: f"ESOL, {one[1]}, seed {one[0]}"):
        run = {"model": model, "seed": seed, **({} if model in BASELINES else trained)}
        found.setdefault(model, []).append(record.once(run, partial(measured, given.root, run)))
    for model, rows in found.items():
        scores = [row["rmse"] for row in rows]
        row = {
            "model": model,
            "rmse": f"{np.mean(scores):.3f} ± {np.std(scores):.3f}",
            "seeds": len(rows),
            "parameters": rows[0].get("parameters"),
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
