"""The card's table of quantiles: deciles on ETTh1, 96 -> 96, beside ridge with its residuals.

``python -m mamba_timeseries.forecast.reproduce_quantiles --root FOLDER --out FOLDER``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamba_core import registry
from mamba_timeseries.forecast import fit as fitting
from mamba_timeseries.forecast import reproduce
from mamba_timeseries.forecast.baselines import fit_ridge
from mamba_timeseries.forecast.candidates import learn
from mamba_timeseries.forecast.config import ForecastTrain
from mamba_timeseries.forecast.data import WindowSplit
from mamba_timeseries.forecast.objective import pinball
from mamba_timeseries.forecast.protocol import Array, StandardSet, Windows, load_standard
from mamba_timeseries.results import cell, head, read, row, write

LEVELS = tuple(k / 10 for k in range(1, 10))
H = 96
SIZE = 96
PRESETS = ("s_mamba_residual", "patch_decoder")


def judge(quantiles: Array, target: Array) -> dict[str, float]:
    """Return the mean pinball loss and the share of values between the outer quantiles.

    :param quantiles: ``(windows, h, channels, levels)``.
    :param target: ``(windows, h, channels)``.
    """
    pair = torch.from_numpy(quantiles), torch.from_numpy(np.array(target, dtype=np.float64))
    each = pinball(*pair, torch.tensor(LEVELS, dtype=torch.float64))
    inside = (target >= quantiles[..., 0]) & (target <= quantiles[..., -1])
    return {"pinball": float(each.mean()), "coverage": float(inside.mean())}


def of_ridge(data: StandardSet, part: str) -> dict[str, float]:
    """Ridge plus, per channel and step, the quantiles of its residuals on a part."""
    cut = {p: data.windows(p, input_size=SIZE, h=H) for p in ("train", "val", "test")}
    ridge = fit_ridge([cut["train"]], [cut["val"]], penalties=(1e3,))

    def residuals(windows: Windows) -> Array:
        return np.asarray(windows.target() - ridge(windows.past()))

    spread = np.quantile(residuals(cut[part]), LEVELS, axis=0)  # (levels, h, channels)
    test = cut["test"]
    quantiles = ridge(test.past())[..., None] + np.moveaxis(spread, 0, -1)
    return judge(quantiles, test.target())


def run(data: StandardSet, preset: str, seed: int) -> dict[str, float]:
    """Train a preset for deciles and judge it on all test windows."""
    asked = registry.config("ts-forecast", preset=preset)
    fields: dict[str, Any] = {"h": H, "input_size": SIZE, "channels": data.values.shape[1]}
    config = registry.config("ts-forecast", preset=preset, quantiles=LEVELS, **fields)
    panel = reproduce.panel_of(data, asked.cycle)
    settings = {**reproduce.DEFAULT, **reproduce.TRAIN.get(preset, {})}
    settings["val_every"] = max(settings["max_steps"] // 12, 1)
    torch.manual_seed(seed)
    model: Any = registry.build("ts-forecast", config=config)
    learn(model, [panel], ForecastTrain(seed=seed, patience=5, **settings))
    test = WindowSplit([panel], config, 2)
    quantiles, targets = [], []
    with torch.no_grad():
        for start in range(0, len(test), 256):
            batch = fitting.batch_of(test, list(range(start, min(start + 256, len(test)))))
            quantiles.append(fitting.run(model, batch)["quantiles"].double().numpy())
            targets.append(batch["target"].double().numpy())
    return judge(np.concatenate(quantiles), np.concatenate(targets))


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--root", type=Path, required=True, help="folder with ETTh1.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    data = load_standard("ETTh1", given.root)
    print(head(["model", "pinball", "inside the 80 % band", "seeds"]))
    for part, name in (("val", "validation"), ("train", "training")):
        told = of_ridge(data, part)
        cells = [f"{told['pinball']:.4f}", f"{told['coverage']:.3f}"]
        print(row([f"ridge + residuals of the {name} windows", *cells, "closed form"]))
    for preset in given.presets:
        rows = []
        for seed in given.seeds:
            path = given.out / "ETTh1_quantiles" / f"{preset}_s{seed}.json"
            if not path.is_file():
                write(path, run(data, preset, seed))
            rows.append(read(path))
        cells = [cell([run[key] for run in rows], 4 - k) for k, key in enumerate(_KEYS)]
        print(row([f"`{preset}`", *cells, str(len(rows))]), flush=True)


_KEYS = ("pinball", "coverage")


if __name__ == "__main__":
    main()
