"""Node classification: a plain GCN and a linear model as baselines, and any preset beside them.

    python -m mamba_graph.benchmarks.node_sets --root ../shared/data/graph/pyg Cora gcn_16
    python -m mamba_graph.benchmarks.node_sets --root ... Minesweeper linear gcn_tuned

Cora and CiteSeer on their public split, by accuracy; the heterophilous sets on their ten splits
(``--splits`` takes the first so many), by ROC-AUC. The epoch is chosen by validation.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import NormalizeFeatures

from mamba_core import registry
from mamba_core.cli.output import terminal_track
from mamba_graph.benchmarks.fit import FitOptions, fit, measure
from mamba_graph.benchmarks.node_recipes import Recipe, recipe_of
from mamba_graph.benchmarks.record import Record, Row
from mamba_graph.data.config import Collection
from mamba_graph.data.read import read
from mamba_graph.networks.presets import PRESETS
from mamba_graph.node_level.config import NodesData
from mamba_graph.node_level.data import NodesDataset
from mamba_graph.node_level.objective import roc_auc

PLANETOID = ("Cora", "CiteSeer", "PubMed")


def source_of(root: Path, name: str) -> Collection:
    """Return where a set of that name is read from."""
    family: Any = "planetoid" if name in PLANETOID else "heterophilous"
    return Collection(family=family, name=name, root=root)


class PlainGcn(nn.Module):
    """Two layers of GCN, dropout before each (Kipf and Welling, 1609.02907)."""

    def __init__(self, features: int, classes: int, hidden: int = 16) -> None:
        super().__init__()
        self.first = GCNConv(features, hidden)
        self.second = GCNConv(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Return logits ``(nodes, classes)``."""
        x = F.relu(self.first(F.dropout(x, 0.5, self.training), edge_index))
        return self.second(F.dropout(x, 0.5, self.training), edge_index)


def gcn_16(graph: Data, seed: int, epochs: int = 200) -> float:
    """Train GCN as published; return the test accuracy at the best validation epoch."""
    torch.manual_seed(seed)
    graph = NormalizeFeatures()(graph.clone())
    model = PlainGcn(graph.x.shape[1], int(graph.y.max()) + 1)
    groups = [
        {"params": model.first.parameters(), "weight_decay": 5e-4},
        {"params": model.second.parameters()},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    best, tested = -1.0, 0.0
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        logits = model(graph.x, graph.edge_index)[graph.train_mask]
        F.cross_entropy(logits, graph.y[graph.train_mask]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(graph.x, graph.edge_index).argmax(1) == graph.y).float()
        val = float(right[graph.val_mask].mean())
        if val > best:
            best, tested = val, float(right[graph.test_mask].mean())
    return tested


def linear(graph: Data, split: int) -> float:
    """Logistic regression on ``x, Px, PPx, log degree``, P the mean over neighbours; ROC-AUC."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    nodes = int(graph.num_nodes or 0)
    source, target = graph.edge_index
    degree = torch.bincount(target, minlength=nodes)
    parts = [graph.x]
    for _ in range(2):
        total = torch.zeros_like(graph.x).index_add(0, target, parts[-1][source])
        parts.append(total / degree.clamp(min=1)[:, None])
    parts.append(torch.log1p(degree.float())[:, None])
    x = StandardScaler().fit_transform(torch.cat(parts, dim=1).numpy())
    train, test = graph.train_mask[:, split].numpy(), graph.test_mask[:, split]
    machine = LogisticRegression(max_iter=1000).fit(x[train], graph.y.numpy()[train])
    scores = torch.from_numpy(machine.decision_function(x))
    area = roc_auc(scores[test], graph.y[test] == 1)
    assert area is not None
    return float(area)


def preset_row(source: Collection, graph: Data, run: Row) -> Row:
    """Train a preset; return the test score and what was seen on the way."""
    torch.manual_seed(run["seed"])
    network = PRESETS[run["model"]].get("network", {}) | run["network"]
    network |= {name: run[name] for name in ("order", "conv") if run[name] is not None}
    shape = {name: run[name] for name in ("d_model", "feature_dropout", "dropout")}
    fields: dict[str, Any] = {
        "features": graph.x.shape[1],
        "classes": int(graph.y.max()) + 1,
        "network": network,
        "encoding": None,
        **shape,
    }
    model = registry.build("graph-node", preset=run["model"], **fields)
    config: Any = model.task.config  # type: ignore[union-attr]
    data = NodesDataset(NodesData(source=source, split=run["split"], parts=run["parts"]), config)
    score = "accuracy" if source.family == "planetoid" else "roc_auc"
    training = {name: run[name] for name in ("epochs", "lr", "weight_decay", "val_every", "seed")}
    options = FitOptions(batch_size=1, decays="matrices", **training)
    parts = data.train(seed=run["seed"]), data.val(seed=0), data.test(seed=0)
    fitted = fit("graph-node", model, *parts[:2], options, score)
    return {
        "score": measure("graph-node", fitted.model, parts[2], 1)[score],
        "val": fitted.score,
        "best_epoch": fitted.epoch,
        "seconds_per_epoch": fitted.seconds / fitted.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def measured(source: Collection, graph: Data, run: Row) -> Row:
    """Return the test score of one model, seed and split, between 0 and 1."""
    if run["model"] == "gcn_16":
        return {"score": gcn_16(graph, run["seed"], run["epochs"])}
    if run["model"] == "linear":
        return {"score": linear(graph, run["split"])}
    return preset_row(source, graph, run)


def summary(rows: list[Row]) -> Row:
    """Return mean and deviation over the runs of one model."""
    found = np.array([100 * row["score"] for row in rows])
    shared = {name: rows[0].get(name) for name in ("set", "model", "order", "epochs", "parameters")}
    seconds = float(np.mean([row.get("seconds_per_epoch", 0.0) for row in rows]))
    return {
        **shared,
        "score": f"{found.mean():.2f} ± {found.std():.2f}",
        "runs": len(rows),
        "seconds_per_epoch": round(seconds, 3),
    }


def settings(given: argparse.Namespace, model: str) -> Row:
    """Return the recipe of a set and model, and what the command line has in its place."""
    found = dataclasses.asdict(recipe_of(given.set, model))
    asked = {name: getattr(given, name) for name in found if name != "network"}
    return found | {name: value for name, value in asked.items() if value is not None}


def main() -> None:
    """Print a line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set")
    parser.add_argument("models", nargs="+", help="gcn_16, linear, or presets of graph-node")
    parser.add_argument("--root", type=Path, required=True, help="folder with NAME/raw")
    parser.add_argument("--seeds", type=int, default=3, help="of sets with one split")
    parser.add_argument("--splits", type=int, default=10, help="of sets with ten")
    for one in dataclasses.fields(Recipe):
        if one.name != "network":  # in place of the recipe's
            words = f"--{one.name.replace('_', '-')}"
            parser.add_argument(words, type=type(getattr(Recipe(), one.name)))
    parser.add_argument("--parts", type=int, default=1, help="regions per epoch")
    parser.add_argument("--order", help="of the nodes, in place of the preset's")
    parser.add_argument("--conv", help="message passing, in place of the preset's")
    parser.add_argument("--record", type=Path, help="file of results; runs in it are not repeated")
    given = parser.parse_args()
    torch.set_num_threads(1)
    source, record = source_of(given.root, given.set), Record(given.record)
    graph = read(source)[0]
    one_split = graph.train_mask.dim() == 1
    repeats = range(given.seeds if one_split else given.splits)
    shared = {name: getattr(given, name) for name in ("set", "order", "conv", "parts")}
    found: dict[str, list[Row]] = {}
    plan = list(itertools.product(repeats, given.models))
    for k, model in terminal_track(plan, lambda one: f"{given.set}, {one[1]}, {one[0]}"):
        seed, split = (k, 0) if one_split else (0, k)
        which = {"model": model, "seed": seed, "split": split}
        run = {**shared, **settings(given, model), **which}
        row = record.once(run, partial(measured, source, graph, run))
        found.setdefault(model, []).append(row)
    for rows in found.values():
        print(json.dumps(summary(rows), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
