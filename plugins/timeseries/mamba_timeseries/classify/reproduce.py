"""The table of the card ``ts-classify``: sets of the UCR and UEA archives, several seeds.

``python -m mamba_timeseries.classify.reproduce --root FOLDER --out FOLDER GunPoint ArrowHead``

``--root`` holds ``NAME/NAME_TRAIN.ts`` and ``NAME/NAME_TEST.ts``. Every run leaves its folder in
``--out``; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

import mamba_core
from mamba_core.cli.output import terminal_track
from mamba_timeseries.classify.data import read_ts
from mamba_timeseries.results import cell, head, row

SETS = (
    "GunPoint",
    "ArrowHead",
    "ItalyPowerDemand",
    "OSULeaf",
    "ACSF1",
    "JapaneseVowels",
    "BasicMotions",
    "PickupGestureWiimoteZ",
)
STEPS = 600


def run(root: Path, name: str, seed: int, out: Path) -> float:
    """Train on a set unless it was done before; the accuracy on its test series.

    Twice, with every series at its own scale and as it is: validation says which one is kept.

    :param out: folder of all runs.
    """
    folders = [_trained(root, name, seed, normalise, out) for normalise in (True, False)]
    chosen = max(folders, key=_score)  # of equals the first
    return mamba_core.evaluate(chosen, batch_size=32).metrics["accuracy"]


def _trained(root: Path, name: str, seed: int, normalise: bool, out: Path) -> Path:
    folder = out / f"{name}_{'normalised' if normalise else 'as_is'}_s{seed}"
    files = {part: root / name / f"{name}_{part.upper()}.ts" for part in ("train", "test")}
    known = read_ts(files["train"])
    classes, channels = len({s.label for s in known}), known[0].values.shape[1]
    if not (folder / "best").is_dir():
        mamba_core.train(
            "ts-classify",
            model={"classes": classes, "channels": channels, "normalise": normalise},
            data=files,
            train={"seed": seed, "max_steps": STEPS, "val_every": STEPS // 12, "batch_size": 16},
            out=folder,
            resume=True,
        )
    return folder


def _score(folder: Path) -> tuple[float, float]:
    """Validation accuracy of the model that was kept; of equals, the smaller loss."""
    told = json.loads((folder / "best" / "config.json").read_text(encoding="utf-8"))["metrics"]
    return told["accuracy"], -told["loss"]


def table(found: Mapping[str, Sequence[float]]) -> str:
    """Return accuracies as a table: mean and deviation over seeds."""
    lines = [head(["set", "accuracy", "seeds"])]
    lines += [row([name, cell(values, 3), str(len(values))]) for name, values in found.items()]
    return "\n".join(lines)


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("sets", nargs="*", default=list(SETS), help="names of sets")
    parser.add_argument("--root", type=Path, required=True, help="folder with a folder per set")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    plan = [(seed, name) for seed in given.seeds for name in given.sets]
    found: dict[str, list[float]] = {name: [] for name in given.sets}
    for seed, name in terminal_track(plan, lambda one: f"{one[1]}, seed {one[0]}"):
        found[name].append(run(given.root, name, seed, given.out))
    print(table(found))


if __name__ == "__main__":
    main()
