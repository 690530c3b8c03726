"""The tables of the card ``ts-forecast``: standard sets, all horizons, several seeds.

``python -m mamba_timeseries.forecast.reproduce ETTh1 --root FOLDER --out FOLDER``

Every run leaves a small file in ``--out``; what is there is not run again. The model is chosen on
validation windows; test windows are read once, after that.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamba_core import registry
from mamba_core.cli.output import terminal_track
from mamba_timeseries.forecast import fit as fitting
from mamba_timeseries.forecast.baselines import Repeat, Seasonal, WindowMean, fit_ridge
from mamba_timeseries.forecast.candidates import learn
from mamba_timeseries.forecast.config import ForecastTrain
from mamba_timeseries.forecast.data import Panel, WindowSplit
from mamba_timeseries.forecast.protocol import (
    FILES,
    Errors,
    Predict,
    StandardSet,
    Windows,
    errors,
    load_standard,
)
from mamba_timeseries.forecast.scale import SeriesScale
from mamba_timeseries.results import cell, head, read, row, write

HORIZONS = {"ETTh1": (96, 192, 336, 720), "Exchange": (96, 192, 336, 720), "ILI": (24, 36, 48, 60)}
LOOK_BACK = {"ETTh1": 96, "Exchange": 96, "ILI": 104}
CYCLE = {"ETTh1": 24, "Exchange": 0, "ILI": 52}
"""Hours of the day, weeks of the year; exchange rates have none."""

_SLOW = {"lr": 1.5e-4, "warmup_steps": 50, "weight_decay": 0.0}
_BRIEF = {"lr": 5e-4, "max_steps": 264}
TRAIN: dict[str, dict[str, Any]] = {
    "s_mamba": {**_SLOW, "max_steps": 792, "ema": None},
    "s_mamba_residual": {**_SLOW, "max_steps": 528, "ema": 0.99},
    "bi_mamba_plus": _BRIEF,
    "cmamba": _BRIEF,
    "mamba_ts": _BRIEF,
    "time_machine": _BRIEF,
}
"""Training by preset where it differs from :data:`DEFAULT`; one setting for all horizons."""
DEFAULT: dict[str, Any] = {"lr": 1e-3, "max_steps": 792, "ema": 0.99}
FIELDS: dict[str, dict[str, Any]] = {"time_machine": {"mixer": {"d_state": 16}}}
"""TimeMachine's published state of 256 takes 1.4 s per step on this processor, one of 16 0.09 s."""
PRESETS = (
    "s_mamba_residual",
    "s_mamba",
    "patch_decoder",
    "bi_mamba_plus",
    "cmamba",
    "mamba_ts",
    "time_machine",
    "patch_transformer",
    "dlinear",
)


def panel_of(data: StandardSet, cycle: int) -> Panel:
    """Return all columns of a standard set as the models read them.

    :param cycle: steps of the cycle to take off; row 0 has phase 0.
    """
    train = data.ends[0]
    scales = tuple(SeriesScale.fit(column[:train], 0, cycle) for column in data.values.T)
    values = [s.apply(y, 0) for s, y in zip(scales, data.values.T, strict=True)]
    return Panel(
        names=tuple(f"column {c}" for c in range(len(scales))),
        values=np.stack(values, axis=1).astype(np.float32),
        observed=np.ones(data.values.shape, dtype=bool),
        known=np.empty((len(data.values), 0), dtype=np.float32),
        scales=scales,
        phase=0,
        ends=data.ends,
    )


def run(
    data: StandardSet, name: str, preset: str, *, size: int, h: int, seed: int
) -> dict[str, float]:
    """Train a preset on a set and measure it on all test windows.

    :param name: of the set, for its cycle.
    :param size: look-back.
    :returns: ``val_mse``, ``mse``, ``mae`` in standardised units, ``steps``, ``seconds``.
    """
    began = time.monotonic()
    asked = registry.config("ts-forecast", preset=preset)
    cycle = chosen_cycle(data, name, size=size, h=h) if asked.cycle else 0
    fields = {"h": h, "input_size": size, "channels": data.values.shape[1]} | FIELDS.get(preset, {})
    config = registry.config("ts-forecast", preset=preset, cycle=cycle, **fields)
    panel = panel_of(data, cycle)
    settings = {**DEFAULT, **TRAIN.get(preset, {})}
    per_epoch = -(-len(WindowSplit([panel], config, 0)) // 32)
    settings["val_every"] = max(min(per_epoch, settings["max_steps"]) // 4, 1)
    torch.manual_seed(seed)
    model: Any = registry.build("ts-forecast", config=config)
    made = learn(model, [panel], ForecastTrain(seed=seed, patience=5, **settings))
    found = _measured(model, WindowSplit([panel], config, 2))
    seconds = time.monotonic() - began
    return {
        "val_mse": made.loss,
        "mse": found.mse,
        "mae": found.mae,
        "steps": made.steps,
        "seconds": round(seconds, 1),
    }


@torch.no_grad()
def _measured(model: Any, split: WindowSplit, batch_size: int = 256) -> Errors:
    """Errors over all windows; the same for every batch size."""
    model.eval()
    squared = absolute = 0.0
    count = 0
    for start in range(0, len(split), batch_size):
        batch = fitting.batch_of(split, list(range(start, min(start + batch_size, len(split)))))
        error = (fitting.run(model, batch)["forecast"] - batch["target"]).double()
        squared += float(error.square().sum())
        absolute += float(error.abs().sum())
        count += error.numel()
    return Errors(squared / count, absolute / count, len(split))


def closed_form(data: StandardSet, name: str, *, size: int, h: int) -> dict[str, Errors]:
    """Return the errors of the baselines on all test windows; ridge with and without the cycle."""
    rows: dict[str, Predict] = {"repeat": Repeat(h), "window mean": WindowMean(h)}
    parts = {p: data.windows(p, input_size=size, h=h) for p in ("train", "val", "test")}
    if CYCLE[name]:
        rows[f"seasonal ({CYCLE[name]})"] = Seasonal(h, CYCLE[name])
    found = {label: errors(predict, parts["test"]) for label, predict in rows.items()}
    found["ridge, centred"] = _ridge(parts)
    if CYCLE[name]:
        found["ridge, centred, cycle off"] = _ridge(_without_cycle(data, CYCLE[name], size, h))
    return found


def chosen_cycle(data: StandardSet, name: str, *, size: int, h: int) -> int:
    """Return the set's cycle, or 0 where ridge forecasts the validation windows better without."""
    if not CYCLE[name]:
        return 0
    whole = {p: data.windows(p, input_size=size, h=h) for p in ("train", "val")}
    off = _without_cycle(data, CYCLE[name], size, h)
    scores = []
    for parts in (whole, off):
        ridge = fit_ridge([parts["train"]], [parts["val"]], penalties=(10.0, 1e3, 1e4))
        scores.append(errors(ridge, parts["val"]).mse)
    return CYCLE[name] if scores[1] < scores[0] else 0


def _without_cycle(data: StandardSet, cycle: int, size: int, h: int) -> dict[str, Windows]:
    values = panel_of(data, cycle).values.astype(float)
    starts = (0, data.ends[0] - size, data.ends[1] - size)
    cut = [Windows(values[s:e], size, h) for s, e in zip(starts, data.ends, strict=True)]
    return dict(zip(("train", "val", "test"), cut, strict=True))


def _ridge(parts: dict[str, Windows]) -> Errors:
    predict: Predict = fit_ridge([parts["train"]], [parts["val"]])
    return errors(predict, parts["test"])


def table(name: str, runs_of: Path, presets: Sequence[str]) -> str:
    """Return what was run as a table: mean and deviation over seeds, MSE / MAE.

    :param runs_of: folder of one set and look-back.
    """
    lines = [head(["model", *(f"H {h}" for h in HORIZONS[name]), "seeds"])]
    closed = read(runs_of / "closed_form.json")
    for label in next(iter(closed.values()), {}):
        cells = ["{mse:.4f} / {mae:.4f}".format(**closed[str(h)][label]) for h in HORIZONS[name]]
        lines.append(row([label, *cells, "closed form"]))
    for preset in presets:
        cells, seeds = [], set()
        for h in HORIZONS[name]:
            runs = [read(p) for p in sorted(runs_of.glob(f"{preset}_h{h}_s*.json"))]
            cells.append(_cell(runs))
            seeds.add(len(runs))
        lines.append(row([f"`{preset}`", *cells, ", ".join(map(str, sorted(seeds)))]))
    return "\n".join(lines)


def _cell(runs: Sequence[dict[str, float]]) -> str:
    if not runs:
        return "not run"
    return " / ".join(cell([r[metric] for r in runs], 4) for metric in ("mse", "mae"))


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("set", choices=FILES, help="which standard set")
    parser.add_argument("--root", type=Path, required=True, help="folder with its file")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--input-size", type=int, help="look-back, when not the set's usual one")
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    data = load_standard(given.set, given.root)
    size = given.input_size or LOOK_BACK[given.set]
    folder = given.out / f"{given.set}_{size}"
    closed = folder / "closed_form.json"
    if not closed.is_file():
        rows = {h: closed_form(data, given.set, size=size, h=h) for h in HORIZONS[given.set]}
        write(closed, {h: {k: vars(v) for k, v in found.items()} for h, found in rows.items()})
    plan = [
        (seed, preset, h)
        for seed in given.seeds
        for preset in given.presets
        for h in HORIZONS[given.set]
    ]
    for seed, preset, h in terminal_track(plan, lambda p: f"{p[1]}, H {p[2]}, seed {p[0]}"):
        path = folder / f"{preset}_h{h}_s{seed}.json"
        if not path.is_file():
            write(path, run(data, given.set, preset, size=size, h=h, seed=seed))
    print(table(given.set, folder, given.presets))


if __name__ == "__main__":
    main()
