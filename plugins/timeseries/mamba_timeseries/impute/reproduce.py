"""The table of the card ``ts-impute``: steps of ETTh1 hidden and filled, several seeds.

``python -m mamba_timeseries.impute.reproduce --root FOLDER --out FOLDER``

Every training leaves its folder in ``--out``; what is there is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import mamba_core
from mamba_core import registry
from mamba_core.cli.output import terminal_track
from mamba_registry.tasks import role_config
from mamba_timeseries.impute.data import ImputeDataset
from mamba_timeseries.impute.objective import line
from mamba_timeseries.results import cell, head, row

STRETCH = 12.0
CASES = (*((share, 1 / (1 - share)) for share in (0.125, 0.25, 0.375, 0.5)), (0.25, STRETCH))
"""Share hidden, and mean length of a hidden stretch: each step by itself, or half a day."""
MODEL: dict[str, Any] = {"channels": 7, "size": 96}
TRAIN: dict[str, Any] = {
    "max_steps": 402,
    "val_every": 67,
    "batch_size": 16,
    "lr": 2e-3,
    "warmup_steps": 50,
    "ema": 0.99,
}
DAY = 24
Array = NDArray[np.float64]


def data(root: Path, share: float, gap: float) -> dict[str, Any]:
    """Return the fields of the data config."""
    return {"path": root / "ETTh1.csv", "split": "ett_hourly", "hidden": share, "gap": gap}


def run(root: Path, share: float, gap: float, seed: int, out: Path) -> dict[str, float]:
    """Train unless it was done before; the errors at hidden steps of the test windows."""
    folder = out / f"hidden{share:g}_gap{gap:.3g}_s{seed}"
    if not (folder / "best").is_dir():
        mamba_core.train(
            "ts-impute",
            model=MODEL,
            data=data(root, share, gap),
            train={**TRAIN, "seed": seed},
            out=folder,
            resume=True,
        )
    return mamba_core.evaluate(folder, batch_size=32).metrics


def baselines(root: Path, share: float, gap: float) -> dict[str, dict[str, float]]:
    """Return the errors of filling without learning, on the same steps of the same windows."""
    spec = registry.spec("ts-impute")
    model = registry.config("ts-impute", **MODEL)
    windows = ImputeDataset(role_config(spec, "data_config", data(root, share, gap)), model)
    split = windows.test(seed=0)
    samples = [split.sample(0, k) for k in range(len(split))]
    batch = {name: torch.stack([s[name] for s in samples]) for name in samples[0]}
    values, seen = batch["values"], batch["observed"]
    straight = line(values, seen).double().numpy()
    filled = {"straight line": straight, "days around": of_days(values, seen, straight)}
    mean = (values * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
    filled["window mean"] = mean.expand_as(values).double().numpy()
    truth, hidden = batch["truth"].double().numpy(), batch["hidden"].numpy()
    return {
        name: {
            "mse": float(np.square(guess - truth)[hidden].mean()),
            "mae": float(np.abs(guess - truth)[hidden].mean()),
        }
        for name, guess in filled.items()
    }


def of_days(values: torch.Tensor, seen: torch.Tensor, otherwise: Array, day: int = DAY) -> Array:
    """Fill by the mean of the same hour on the day before and after, where one was seen.

    :param values: ``(windows, size, channels)``.
    :param seen: bool, like ``values``.
    :param otherwise: like ``values``, where neither was.
    """
    known = np.where(seen, values.double().numpy(), np.nan)
    both = np.full((2, *known.shape), np.nan)
    both[0, :, day:], both[1, :, :-day] = known[:, :-day], known[:, day:]
    count = np.isfinite(both).sum(0)
    return np.where(count > 0, np.nansum(both, axis=0) / np.maximum(count, 1), otherwise)


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--root", type=Path, required=True, help="folder with ETTh1.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    rows: dict[str, list[str]] = {}
    for share, gap in terminal_track(CASES, lambda case: f"{case[0]:.1%} hidden"):
        for name, found in baselines(given.root, share, gap).items():
            rows.setdefault(name, []).append(f"{found['mse']:.3f} / {found['mae']:.3f}")
        runs = [run(given.root, share, gap, seed, given.out) for seed in given.seeds]
        told = [cell([one[key] for one in runs], 3) for key in ("mse", "mae")]
        rows.setdefault("`ts-impute`", []).append(" / ".join(told))
    print(head(["filled by", *(f"{share:.1%}, {gap:.3g} long" for share, gap in CASES)]))
    for name, cells in rows.items():
        print(row([name, *cells]))


if __name__ == "__main__":
    main()
