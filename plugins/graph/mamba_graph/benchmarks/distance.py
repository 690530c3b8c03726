"""How far networks see: accuracy and memory against the distance of the answer.

    python -m mamba_graph.benchmarks.distance ring --distances 4 8 16 gcn gred graph_mamba_small
    python -m mamba_graph.benchmarks.distance tree --distances 2 3 4 gcn graph_mamba_small

Rings with a class at the opposite node, or trees whose root must find one of its leaves; made
anew from a seed, for training and for the test. Message passing gets as many layers as the
distance asks for, the others keep theirs. Training ends early when it has learnt all or nothing
more. Memory is what the forward pass of one batch keeps for the backward pass.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mamba_core import registry
from mamba_graph.benchmarks.fit import FitOptions, batches, fit, measure
from mamba_graph.benchmarks.record import Record, Row
from mamba_graph.data.made import as_node_samples, ring_transfer, tree_neighbors_match
from mamba_graph.data.samples import prepared
from mamba_graph.networks.presets import PRESETS
from mamba_graph.node_level.data import NodeSplit

RING_CLASSES = 5


def fields_of(preset: str, task: str, distance: int) -> dict[str, Any]:
    """Return the model's fields: what the graphs need, layers enough to reach the answer."""
    network = dict(PRESETS[preset].get("network", {}))
    if network.get("kind") == "convolutions":
        network |= {"depth": distance + 1, "dropout": 0.0}
    elif network.get("kind") == "gred":
        network |= {"hops": distance, "depth": 2}  # one to bind what a leaf says
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


def measured(task: str, preset: str, distance: int, options: FitOptions, graphs: int) -> Row:
    """Train and test one network at one distance."""
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    fields = fields_of(preset, task, distance)
    model = registry.build("graph-node", preset=preset, **fields)
    config = model.task.config  # type: ignore[union-attr]
    train = split_of(task, graphs, distance, options.seed, config, True)
    test = split_of(task, max(graphs // 4, 50), distance, options.seed + 1000, config, False)
    kept = kept_mib(model, train, options.batch_size)
    fitted = fit("graph-node", model, train, train, options, "accuracy")
    found = measure("graph-node", fitted.model, test, options.batch_size)["accuracy"]
    return {
        "train": round(100 * fitted.score, 1),
        "test": round(100 * found, 1),
        "epochs_run": fitted.epochs,
        "seconds_per_epoch": round(fitted.seconds / fitted.epochs, 2),
        "kept_mib": round(kept, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def kept_mib(model: nn.Module, split: NodeSplit, batch_size: int) -> float:
    """Return what the forward pass of one batch keeps for the backward pass, in MiB."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = next(batches(split, batch_size, 0, list(range(min(batch_size, len(split))))))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(**{name: batch[name] for name in registry.spec("graph-node").inputs})
        del output
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return sum(size for place, size in sizes.items() if place not in parameters) / 2**20


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
    parser.add_argument("--record", type=Path, help="file of results; runs in it are not repeated")
    given = parser.parse_args()
    record = Record(given.record)
    same = ("task", "graphs", "epochs", "batch", "lr", "seed")
    shared = {name: getattr(given, name) for name in same}
    options = FitOptions(
        epochs=given.epochs,
        batch_size=given.batch,
        lr=given.lr,
        seed=given.seed,
        patience=given.epochs // 2,
        enough=1.0,
    )
    for distance in given.distances:
        for preset in given.presets:
            run = {**shared, "distance": distance, "preset": preset}
            row = record.once(
                run, partial(measured, given.task, preset, distance, options, given.graphs)
            )
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
