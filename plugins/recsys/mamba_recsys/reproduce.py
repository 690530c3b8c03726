"""The tables of the card ``rec-next``: models beside those that count, several seeds.

``python -m mamba_recsys.reproduce ml-100k --root FOLDER --out FOLDER``

Every run leaves a folder in ``--out``; what is finished is not run again, what was stopped goes on.
Models are chosen on validation targets; test targets are read once, after that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from pydantic import TypeAdapter

import mamba_core
from mamba_core import registry
from mamba_core.atomic import new_file
from mamba_recsys import interactions as I
from mamba_recsys.baselines import BASELINES
from mamba_recsys.evaluation import Evaluation, Scorer, evaluate
from mamba_recsys.next_item.config import NextItemData
from mamba_recsys.next_item.scorer import ModelScorer
from mamba_recsys.readers import read

TASK = "rec-next"
Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A row of a table: a preset and how it is trained."""

    preset: str
    data: Fields = field(default_factory=dict)


MODELS = {
    "mamba4rec": Model(preset="mamba4rec"),
    "mamba4rec_published": Model(preset="mamba4rec_published"),
    "mamba_prenorm": Model(preset="mamba_prenorm"),
    "mamba2_packed": Model(preset="mamba2_packed"),
    "tim4rec": Model(preset="tim4rec"),
    "sigma": Model(preset="sigma", data={"prefixes": 4, "max_length": 50}),
    "echomamba": Model(preset="echomamba", data={"prefixes": 4, "max_length": 50}),
    "sasrec": Model(preset="sasrec"),
    "sasrec, sampled": Model(
        preset="sasrec", data={"objective": {"kind": "sampled", "negatives": 32}}
    ),
    "sasrec, bce": Model(preset="sasrec", data={"objective": {"kind": "binary"}}),
    "sasrec, gbce": Model(
        preset="sasrec",
        data={"objective": {"kind": "binary", "negatives": 32, "calibration": 0.75}},
    ),
    "gru4rec": Model(preset="gru4rec"),
    "hstu": Model(preset="hstu"),
}
"""By name; full softmax over all positions where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A data set and one way of training for all models."""

    file: str
    """Inside of ``--root``."""
    items: int
    data: Fields
    dropout: float
    own_dropout: Mapping[str, float] = field(default_factory=dict)
    """By preset, where it differs."""
    train: Fields
    models: tuple[str, ...]
    """What is run unless told otherwise."""
    temperature: float | None = None
    """Of the cosines that all models score by here; None leaves each as its preset has it."""


SETS = {
    "ml-100k": Benchmark(
        file="ml-100k/ml-100k.inter",
        items=1682,
        data={"max_length": 200},
        dropout=0.2,
        train={"max_epochs": 15, "batch_size": 16, "lr": 2e-3, "val_every": 118},
        models=tuple(MODELS),
    ),
    "ml-1m": Benchmark(
        file="ml-1m/ml1m_sequences.npz",
        items=3416,
        data={"max_length": 200, "min_item_events": 5},
        dropout=0.1,
        train={"max_epochs": 20, "batch_size": 16, "lr": 5e-3, "val_every": 1890},
        models=("mamba4rec_published", "sasrec"),
    ),
    "beauty": Benchmark(
        file="beauty/Beauty.txt",
        items=12101,
        data={"max_length": 50},
        dropout=0.2,
        own_dropout={"mamba_prenorm": 0.35},
        temperature=0.05,
        train={"max_epochs": 10, "batch_size": 128, "lr": 5e-3, "val_every": 874},
        models=("mamba_prenorm", "sasrec"),
    ),
}
MEASURES = ("hr", "ndcg", "mrr")
TRAIN: Fields = {"precision": "bf16", "checkpoint_every": 100, "log_every": 50, "patience": None}
"""What all trainings share."""


def data_fields(benchmark: Benchmark, root: Path, model: Model) -> Fields:
    """Return the fields of the data config."""
    return {"path": root / benchmark.file, **benchmark.data, **model.data}


def model_fields(benchmark: Benchmark, model: Model) -> Fields:
    """Return the fields of the model config: the preset's network with the set's dropout."""
    network = registry.config(TASK, preset=model.preset).network
    dropout = benchmark.own_dropout.get(model.preset, benchmark.dropout)
    network = dataclasses.replace(network, dropout=dropout)
    fields = {"items": benchmark.items, "network": TypeAdapter(type(network)).dump_python(network)}
    if benchmark.temperature is not None:
        fields["temperature"] = benchmark.temperature
    return fields


def run(benchmark: Benchmark, root: Path, model: Model, seed: int, folder: Path) -> Fields:
    """Train or go on training, then measure on the test targets.

    :param folder: of the run.
    :returns: measures by convention, ``seconds`` of the processor, ``steps``.
    """
    spent = folder.parent / f"{folder.name}.seconds"
    with SecondsKept(spent):
        made = mamba_core.train(
            TASK,
            preset=model.preset,
            model=model_fields(benchmark, model),
            data=data_fields(benchmark, root, model),
            train={**TRAIN, **benchmark.train, "seed": seed},
            out=folder,
            resume=folder.is_dir(),
        )
    trained: Any = mamba_core.from_pretrained(made.model)
    longest = NextItemData(**data_fields(benchmark, root, model)).max_length
    found = measured(benchmark, root, lambda *_: ModelScorer(trained.eval(), longest), longest)
    seconds = round(float(spent.read_text(encoding="utf-8")), 1)
    return {**found, "seconds": seconds, "steps": made.steps, "best_step": made.best_step}


def measured(
    benchmark: Benchmark,
    root: Path,
    scorer: Callable[[I.Interactions, I.Parts], Scorer],
    longest: int | None,
) -> Fields:
    """Return HR, NDCG, MRR at 10 and coverage of the test targets, in both conventions."""
    config = NextItemData(path=root / benchmark.file, **benchmark.data)
    data = I.make_interactions(
        *read(config.path),
        duplicates="keep",
        min_item_events=config.min_item_events,
        min_user_events=config.min_user_events,
    )
    parts = I.leave_one_out(data)
    found: Evaluation = evaluate(scorer(data, parts), data, parts.test, longest=longest)
    plain, new = found.table().drop(columns="filter_seen").to_dict("records")
    return {"all": plain, "new": new}


class SecondsKept:
    """Add the processor's seconds of a block to a file, also when the program is told to end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.begin = time.process_time()
        self.before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self.before)
        held = float(self.path.read_text(encoding="utf-8")) if self.path.is_file() else 0.0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(f"{held + time.process_time() - self.begin}", encoding="utf-8")


def table(name: str, folder: Path, models: Sequence[str]) -> str:
    """Return what was run as a table: mean and deviation over the seeds."""
    rows = []
    for label in (*BASELINES, *models):
        runs = [json.loads(p.read_text()) for p in sorted(folder.glob(f"{_slug(label)}_s*.json"))]
        seconds = [run["seconds"] for run in runs]
        rows.append((label, [run["all"] for run in runs], [run["new"] for run in runs], seconds))
    return f"{name}: HR@10 / NDCG@10 / MRR@10\n\n{markdown(rows, k=10)}"


def markdown(
    rows: Iterable[tuple[str, Sequence[Fields], Sequence[Fields], Sequence[float]]], *, k: int
) -> str:
    """Return lines of a table: means and deviations over the seeds; rows without one are left out.

    :param rows: name, measures at k among all items and among new ones, a mapping per seed, and
        seconds per seed; no seconds for what only counts.
    """
    head = ["model", "all items", "new items", f"coverage@{k}", "seconds", "seeds"]
    lines = [head, ["---"] * len(head)]
    for label, plain, new, seconds in rows:
        if not plain:
            continue
        cells = [
            " / ".join(shown([run[f"{m}@{k}"] for run in runs]) for m in MEASURES)
            for runs in (plain, new)
        ]
        covered = [mean(run[f"coverage@{k}"] for run in runs) for runs in (plain, new)]
        cells.append(" → ".join(f"{c:.2f}".lstrip("0") for c in covered))
        cells.append(f"{mean(seconds):.0f}" if seconds else "-")
        lines.append([f"`{label}`", *cells, str(len(plain))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(values: Sequence[float]) -> str:
    """Return the mean of shares over the seeds, with their deviation where there are several."""
    spread = f" ± {stdev(values):.4f}".replace("0.", ".") if len(values) > 1 else ""
    return f"{mean(values):.4f}".lstrip("0") + spread


def _slug(label: str) -> str:
    return label.replace(", ", "-")


def _write(path: Path, found: Fields) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as unfinished:
        unfinished.write_text(json.dumps(found, indent=1), encoding="utf-8")


def counted(benchmark: Benchmark, root: Path, name: str) -> Fields:
    """Measure a recommender that counts."""
    begin = time.process_time()
    found = measured(
        benchmark,
        root,
        lambda d, p: BASELINES[name](I.training_histories(d, p), len(d.catalogue)),
        benchmark.data["max_length"],
    )
    return {**found, "seconds": round(time.process_time() - begin, 1)}


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("set", choices=SETS, help="which data set")
    parser.add_argument("--root", type=Path, required=True, help="folder with the data sets'")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--models", nargs="*", choices=MODELS, help="rows; the set's own")
    parser.add_argument("--baselines", nargs="*", choices=BASELINES, default=list(BASELINES))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    benchmark, folder = SETS[given.set], given.out / given.set
    models = benchmark.models if given.models is None else given.models
    for name in given.baselines:
        path = folder / f"{name}_s0.json"
        if not path.is_file():
            _write(path, counted(benchmark, given.root, name))
    for seed in given.seeds:
        for name in models:
            at = folder / f"{_slug(name)}_s{seed}"
            path = at.parent / f"{at.name}.json"
            if not path.is_file():
                _write(path, run(benchmark, given.root, MODELS[name], seed, at))
                print(f"{at.name}: {path.read_text()}", flush=True)
    print(table(given.set, folder, models))


if __name__ == "__main__":
    main()
