"""How far networks see: accuracy and memory against the distance of the answer.

    python -m mamba_graph.benchmarks.distance ring --distances 4 8 16 gcn gred graph_mamba_small
    python -m mamba_graph.benchmarks.distance tree --distances 2 3 4 gcn graph_mamba_small

Rings with a class at the opposite node, or trees whose root must find one of its leaves; made
anew from a seed, for training and for the test. Message passing gets as many layers as the
distance asks for, scans keep theirs.
"""

from __future__ import annotations

import argparse
import json
import resource
from typing import Any

import torch

from mamba_core import registry
from mamba_graph.benchmarks.fit import FitOptions, fit, measure
from mamba_graph.data.made import as_node_samples, ring_transfer, tree_neighbors_match
from mamba_graph.data.samples import prepared
from mamba_graph.networks.presets import PRESETS
from mamba_graph.node_level.data import NodeSplit

RING_CLASSES = 5


def fields_of(preset: str, task: str, distance: int, order: str | None) -> dict[str, Any]:
    """Return the model's fields: what the graphs need, layers enough to reach the answer."""
    network = dict(PRESETS[preset].get("network", {}))
    if network.get("kind") == "convolutions":
        network |= {"depth": distance + 1, "dropout": 0.0}
    elif network.get("kind") == "gred":
        network |= {"hops": distance, "depth": 1}
    elif order is not None:
        network |= {"order": order}
    if "dropout" in network:
        network["dropout"] = 0.0
    leaves = 2**distance
    sizes = (
        {"features": RING_CLASSES + 1, "classes": RING_CLASSES}
        if task == "ring"
        else {"features": 2 * leaves, "classes": leaves}
    )
    return {**sizes, "network": network, "encoding": None, "d_model": 32}


def split_of(
    task: str, count: int, distance: int, seed: int, config: Any, train: bool
) -> NodeSplit:
    """Return made graphs as samples."""
    made = (
        ring_transfer(count, distance, RING_CLASSES, seed)
        if task == "ring"
        else tree_neighbors_match(count, distance, seed)
    )
    samples = [
        {**prepared(g, config, f"graph {k}"), "node_y": g.y, "node_mask": g.node_mask}
        for k, g in enumerate(as_node_samples(made))
    ]
    return NodeSplit(samples, seed if train else None, 1)


def run(task: str, preset: str, distance: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train and test one network at one distance."""
    torch.manual_seed(given.seed)
    fields = fields_of(preset, task, distance, given.order)
    model = registry.build("graph-node", preset=preset, **fields)
    config = model.task.config  # type: ignore[union-attr]
    train = split_of(task, given.graphs, distance, given.seed, config, True)
    test = split_of(task, max(given.graphs // 4, 50), distance, given.seed + 1000, config, False)
    options = FitOptions(
        epochs=given.epochs, batch_size=given.batch, lr=given.lr, seed=given.seed, patience=10
    )
    fitted = fit("graph-node", model, train, train, options, "accuracy")
    return {
        "task": task,
        "distance": distance,
        "preset": preset,
        "order": given.order,
        "train": round(100 * fitted.score, 1),
        "test": round(100 * measure("graph-node", fitted.model, test, given.batch)["accuracy"], 1),
        "epochs": fitted.epochs,
        "seconds_per_epoch": round(fitted.seconds / fitted.epochs, 2),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def main() -> None:
    """Print a line per network and distance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("ring", "tree"))
    parser.add_argument("presets", nargs="+", help="presets of graph-node")
    parser.add_argument("--distances", type=int, nargs="+", required=True)
    parser.add_argument("--graphs", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--order")
    given = parser.parse_args()
    for distance in given.distances:
        for preset in given.presets:
            print(json.dumps(run(given.task, preset, distance, given)), flush=True)


if __name__ == "__main__":
    main()
