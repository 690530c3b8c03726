"""The tables of the ``vision-cls`` card: small networks and their peers, one recipe for all.

    python -m mamba_vision.classification.reproduce mnist --data mnist_28x28.npz --out runs
    python -m mamba_vision.classification.reproduce cifar --data cifar10_jpeg.tar.xz --out runs

Per network and seed one training; what is in ``--out`` is not run again, what was cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamba_vision.reproducing import kept, spread_text


@dataclass(frozen=True)
class Table:
    """One set of images: the steps of every network, and one recipe for all."""

    steps: Mapping[str, int]
    """By preset: the same for all (MNIST), or what takes the same processor time (CIFAR-10), by a
    timing of each network's step."""
    kind: str
    """Form of the data, as the data config has it."""
    data: Mapping[str, Any]
    lr: float
    warmup_steps: int


TABLES = {
    "mnist": Table(
        steps={"mnist_250k": 1688, "vit_mnist_250k": 1688},
        kind="npz",
        data={"augment": {"crop": "pad", "pad": 2}},
        lr=4e-3,
        warmup_steps=100,
    ),
    "cifar": Table(
        steps={"cifar_250k": 944, "vit_cifar_250k": 532, "cct_2_3x2": 418, "resnet20": 494},
        kind="tar",
        data={"augment": {"crop": "pad", "flip": True}, "val_share": 0.02},
        lr=2e-3,
        warmup_steps=30,
    ),
}


def trained(table: Table, path: Path, out: Path, preset: str, seed: int) -> float:
    """Train one network, and return its accuracy on the test images."""
    steps = table.steps[preset]
    return kept(
        out / f"{preset}_{seed}",
        "vision-cls",
        preset,
        data={"source": {"kind": table.kind, "path": str(path)}, **table.data},
        train={
            "max_steps": steps,
            "val_every": steps // 4,
            "batch_size": 128,
            "lr": table.lr,
            "warmup_steps": table.warmup_steps,
            "ema": 0.98,
            "seed": seed,
            "checkpoint_every": 200,
        },
        batch_size=256,
    )["top1"]


def main(words: Sequence[str] | None = None) -> None:
    """Print the accuracy of every network, mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", help="presets of the table; all by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args(words)
    table = TABLES[given.table]
    names = given.models or list(table.steps)
    if missing := [name for name in names if name not in table.steps]:
        parser.error(f"not in this table: {', '.join(missing)}; there are {', '.join(table.steps)}")
    for name in names:
        found = [trained(table, given.data, given.out, name, seed) for seed in given.seeds]
        print(f"{name}, {table.steps[name]} steps: {spread_text(found)}", flush=True)


if __name__ == "__main__":
    main()
