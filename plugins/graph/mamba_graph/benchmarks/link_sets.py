"""Links of a real graph: counts of shared neighbours as baselines, and any preset beside them.

    python -m mamba_graph.benchmarks.link_sets --root ../shared/data/graph/pyg Cora \\
        common adamic_adar gcn graph_mamba_small

A tenth of the edges is hidden to test, a twentieth to choose the epoch by; as many pairs without
an edge are drawn. All models are asked for the same pairs. ROC-AUC.
"""

from __future__ import annotations

import argparse
import itertools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from mamba_core import registry
from mamba_core.cli.output import terminal_track
from mamba_graph.benchmarks.fit import FitOptions, fit, measure
from mamba_graph.benchmarks.node_sets import source_of
from mamba_graph.benchmarks.record import Record, Row
from mamba_graph.data.read import read
from mamba_graph.data.samples import Sample
from mamba_graph.link_level.config import LinksData
from mamba_graph.link_level.data import LinksDataset
from mamba_graph.networks.presets import PRESETS
from mamba_graph.node_level.objective import roc_auc

BASELINES = ("common", "adamic_adar", "features")


def baseline(sample: Sample, name: str) -> float:
    """Return the ROC-AUC of a rule over the asked pairs.

    :param name: ``common`` counts shared neighbours, ``adamic_adar`` weighs each by one over the
        logarithm of its degree (Adamic and Adar 2003), ``features`` is the cosine of the nodes'.
    """
    first, second = sample["pairs"].numpy()
    if name == "features":
        x = sample["x"]
        score = torch.cosine_similarity(x[first], x[second])
    else:
        nodes = len(sample["x"])
        ends = sample["edge_index"].numpy()
        near = sparse.csr_array((np.ones(ends.shape[1]), tuple(ends)), shape=(nodes, nodes))
        degree = np.maximum(near.sum(axis=1), 1)
        # a node of one edge is shared by no pair
        weight = 1 / np.log(np.maximum(degree, 2)) if name == "adamic_adar" else np.ones(nodes)
        weighed = sparse.csr_array(near @ sparse.diags_array(weight))
        score = torch.from_numpy(weighed[first].multiply(near[second]).sum(axis=1))
    area = roc_auc(score, sample["pair_y"] > 0.5)
    assert area is not None
    return float(area)


def measured(root: Path, run: Row) -> Row:
    """Return the test ROC-AUC of one model on the split of one seed."""
    torch.manual_seed(run["seed"])
    source = source_of(root, run["set"])
    rule = run["model"] in BASELINES
    preset = "gcn" if rule else run["model"]
    model = registry.build(
        "graph-link",
        preset=preset,
        features=read(source)[0].x.shape[1],
        dropout=run["dropout"],
        d_model=run["d_model"],
        network=dict(PRESETS[preset].get("network", {})),
        encoding=None,
    )
    config: Any = model.task.config  # type: ignore[union-attr]
    data = LinksDataset(LinksData(source=source, split_seed=run["seed"]), config)
    train, val, test = data.train(seed=run["seed"]), data.val(seed=0), data.test(seed=0)
    if rule:
        return {"score": baseline(test.sample(0, 0), run["model"])}
    options = FitOptions(epochs=run["epochs"], batch_size=1, lr=run["lr"], seed=run["seed"])
    fitted = fit("graph-link", model, train, val, options, "roc_auc")
    return {
        "score": measure("graph-link", fitted.model, test, 1)["roc_auc"],
        "best_epoch": fitted.epoch,
        "seconds_per_epoch": fitted.seconds / fitted.epochs,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def main() -> None:
    """Print a line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set")
    parser.add_argument("models", nargs="+", help=f"{', '.join(BASELINES)}, presets of graph-link")
    parser.add_argument("--root", type=Path, required=True, help="folder with NAME/raw")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--record", type=Path, help="file of results; runs in it are not repeated")
    given = parser.parse_args()
    torch.set_num_threads(1)
    record = Record(given.record)
    shared = {name: getattr(given, name) for name in ("set", "epochs", "lr", "dropout", "d_model")}
    found: dict[str, list[Row]] = {}
    plan = list(itertools.product(range(given.seeds), given.models))
    for seed, model in terminal_track(plan, lambda one: f"{given.set}, {one[1]}, seed {one[0]}"):
        run = {**shared, "model": model, "seed": seed}
        found.setdefault(model, []).append(record.once(run, partial(measured, given.root, run)))
    for model, rows in found.items():
        score = np.array([100 * row["score"] for row in rows])
        row = {
            "set": given.set,
            "model": model,
            "roc_auc": f"{score.mean():.1f} ± {score.std():.1f}",
            "seeds": len(rows),
            "parameters": rows[0].get("parameters"),
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
