"""The table of the card ``ts-anomaly``: anomalies put into made-up series, and a real one.

``python -m mamba_timeseries.anomaly.reproduce --out FOLDER [--root FOLDER]``

Made-up series are the same for every training. With ``--root``, also the series in its file
:data:`REAL` of the UCR anomaly archive. Every training leaves its folder in ``--out``; what is
there is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

import mamba_core
from mamba_core.cli.output import terminal_track
from mamba_timeseries.anomaly.model import AnomalyDetector
from mamba_timeseries.anomaly.predict import FileDetector
from mamba_timeseries.results import cell, head, row

Array = NDArray[np.float64]
REAL = "135_UCR_Anomaly_InternalBleeding16_TEST.csv"
REAL_TRAINING = 1200
"""Rows at the beginning that the archive says are without anomaly."""
NEAR = 100
"""Steps from an anomaly that still count as found, by the archive's rule."""
TRAIN: dict[str, Any] = {
    "max_steps": 200,
    "val_every": 100,
    "batch_size": 8,
    "lr": 2e-3,
    "warmup_steps": 30,
    "ema": 0.99,
}
STEPS, TRAINING = 6000, 3000
KINDS = ("spike", "noise", "level", "cycle")
_LONG = 12


@dataclass(frozen=True)
class Case:
    """A series, where its test part begins, and which steps of it are no anomalies."""

    name: str
    y: Array
    labels: NDArray[np.bool_]
    training: int


def made_up(kind: str) -> Case:
    """Return two waves and noise; in the second half an anomaly of one kind every 150 steps.

    ``spike``: one step off by 0.5 (the waves' amplitudes are 1 and 0.4, the noise's deviation 0.1).
    The others last 12 steps: ``noise`` five times as strong, ``level`` up by 0.5, ``cycle``: the
    fast wave stands still.
    """
    rng = np.random.default_rng(KINDS.index(kind))
    t = np.arange(STEPS)
    slow, fast = np.sin(t * 2 * np.pi / 48), 0.4 * np.sin(t * 2 * np.pi / 12)
    noise = 0.1 * rng.normal(size=STEPS)
    labels = np.zeros(STEPS, dtype=bool)
    length = 1 if kind == "spike" else _LONG
    for start in range(TRAINING + 75, STEPS - _LONG, 150):
        labels[start : start + length] = True
    if kind == "spike":
        noise[labels] += 0.5 * rng.choice([-1.0, 1.0], labels.sum())
    elif kind == "noise":
        noise[labels] *= 5
    elif kind == "level":
        noise[labels] += 0.5
    else:
        fast[labels] = 0
    return Case(kind, slow + fast + noise, labels, TRAINING)


def real(root: Path) -> Case:
    """Return the archive's series.

    :raises FileNotFoundError: when it is not in ``root``.
    """
    table = pd.read_csv(root / REAL)
    labels = table["is_anomaly"].to_numpy() > 0
    return Case("InternalBleeding16", table["value"].to_numpy(float), labels, REAL_TRAINING)


def trained(case: Case, seed: int, out: Path) -> AnomalyDetector:
    """Train on the part without anomalies, unless it was done before."""
    folder = out / f"{case.name}_s{seed}"
    if not (folder / "best").is_dir():
        path = out / f"{case.name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        _table(case).to_csv(path, index=False)
        rows = len(case.y)
        shares = {"test_share": 1 - case.training / rows, "val_share": 0.2 * case.training / rows}
        mamba_core.train(
            "ts-anomaly",
            data={"path": path, **shares},
            train={**TRAIN, "seed": seed},
            out=folder,
            resume=True,
        )
    model = mamba_core.from_pretrained(folder / "best", device="cpu")
    assert isinstance(model, AnomalyDetector)
    return model


def _table(case: Case) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": case.name, "ds": np.arange(len(case.y)), "y": case.y})


def jumps(y: Array) -> Array:
    """Score a step by its distance to the step before, relative to the mean of both sides."""
    around = np.convolve(y, [0.5, 0, 0.5], "same")
    around[0], around[-1] = y[1], y[-2]
    return np.abs(y - around)


def from_median(y: Array, width: int = 25) -> Array:
    """Score a step by its distance to the median of the ``width`` steps around it."""
    padded = np.pad(y, width // 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)
    return np.abs(y - np.median(windows, axis=1))


def nearest(y: Array, training: int, size: int = 24) -> Array:
    """Score a step by the stretches that hold it: the least distance of each to the training part.

    One-sided discords of stretches brought to mean 0; the mean over those a step lies in.
    """
    windows = np.lib.stride_tricks.sliding_window_view(y, size)
    windows = windows - windows.mean(1, keepdims=True)
    known = windows[: training - size + 1]
    squares = np.square(windows).sum(1)[:, None] + np.square(known).sum(1) - 2 * windows @ known.T
    distance = np.sqrt(np.maximum(squares.min(1), 0))
    total = np.convolve(distance, np.ones(size))
    return total / np.convolve(np.ones(len(distance)), np.ones(size))


BASELINES: dict[str, Callable[[Case], Array]] = {
    "distance to the neighbours": lambda case: jumps(case.y),
    "distance to the median of 25": lambda case: from_median(case.y),
    "nearest stretch of 24 in training": lambda case: nearest(case.y, case.training),
}


def judge(case: Case, scores: Array) -> dict[str, float]:
    """Measure scores on the steps after training, each by itself.

    :param scores: ``(steps,)``.
    :returns: ``auroc``, ``precision`` (average precision) and ``found``: 1 when the highest score
        lies at most :data:`NEAR` steps from an anomaly.
    """
    late = slice(case.training, None)
    score, label = torch.from_numpy(scores[late].copy()), torch.from_numpy(case.labels[late])
    ranks = score.argsort().argsort().double() / len(score)  # probabilities are expected
    highest = int(scores[late].argmax())
    distance = np.abs(np.flatnonzero(case.labels[late]) - highest).min()
    return {
        "auroc": float(binary_auroc(ranks, label.long())),
        "precision": float(binary_average_precision(ranks, label.long())),
        "found": float(distance <= NEAR),
    }


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--root", type=Path, help=f"folder with {REAL}")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    cases = [made_up(kind) for kind in KINDS]
    cases += [real(given.root)] if given.root else []
    rows: dict[str, list[str]] = {}
    for case in terminal_track(cases, lambda case: case.name):
        for name, scorer in BASELINES.items():
            rows.setdefault(name, []).append(_cell([judge(case, scorer(case))], case))
        runs = []
        for seed in given.seeds:
            detector = FileDetector(trained(case, seed, given.out))
            runs.append(judge(case, detector.judge(_table(case))["score"].to_numpy()))
        rows.setdefault("`ts-anomaly`", []).append(_cell(runs, case))
    print(head(["scored by", *(case.name for case in cases)]))
    for name, cells in rows.items():
        print(row([name, *cells]))


def _cell(runs: list[dict[str, float]], case: Case) -> str:
    told = [cell([one[key] for one in runs], 3) for key in ("auroc", "precision")]
    if case.name not in KINDS:
        told.append(f"found {sum(one['found'] for one in runs):g} of {len(runs)}")
    return " / ".join(told)


if __name__ == "__main__":
    main()
