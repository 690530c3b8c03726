"""The results folder: what is in it, whose it is, and the curves."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mamba_core.atomic import new_file
from mamba_core.training.errors import TrainingError

CONFIG, METRICS, CURVES, BEST, LAST = (
    "config.json",
    "metrics.csv",
    "curves.png",
    "best",
    "last.ckpt",
)

FREE = frozenset({"workers", "log_every", "checkpoint_every", "max_minutes", "device"})
"""Fields of the train config that may change on resuming: none moves the weights' path."""


def prepare_folder(folder: Path, described: Mapping[str, Any], *, resume: bool) -> Path | None:
    """Make or check the results folder and write its ``config.json``.

    :param described: what the run is: ``task``, ``model``, ``data``, ``train`` and more.
    :returns: the checkpoint to go on from, None for a fresh start.
    :raises FileExistsError: for a folder with content when ``resume`` is not set.
    :raises TrainingError: when the folder belongs to another run.
    """
    checkpoint = folder / LAST
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not resume:
            raise FileExistsError(
                f"{folder} is not empty: resume it (resume=True, --resume) or choose another folder"
            )
        _check_same(folder, described)
    folder.mkdir(parents=True, exist_ok=True)
    with new_file(folder / CONFIG) as path:
        path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return checkpoint if resume and checkpoint.exists() else None


def remove_start(folder: Path) -> None:
    """Remove what a run wrote before its first checkpoint, so that another may use the folder."""
    if (folder / LAST).exists() or (folder / BEST).exists():
        return
    (folder / CONFIG).unlink(missing_ok=True)
    (folder / METRICS).unlink(missing_ok=True)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    with contextlib.suppress(OSError):  # something of the user's is in it
        folder.rmdir()


def read_run(folder: Path) -> dict[str, Any] | None:
    """Return a results folder's ``config.json``, None for any other folder."""
    try:
        described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return described if isinstance(described, dict) and "train" in described else None


def _check_same(folder: Path, described: Mapping[str, Any]) -> None:
    before = read_run(folder)
    if before is None:
        raise TrainingError(
            f"{folder} holds no training to resume (no {CONFIG} of one): choose another folder"
        )
    changed = [
        f"{role}.{name} was {old.get(name)!r}, now {new.get(name)!r}"
        for role in ("model", "data", "train")
        for old, new in [(before.get(role) or {}, described.get(role) or {})]
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not (role == "train" and name in FREE)
    ]
    for name in ("task", "processes"):
        if before.get(name) != described.get(name):
            changed.insert(0, f"{name} was {before.get(name)!r}, now {described.get(name)!r}")
    if changed:
        raise TrainingError(
            f"{folder} was trained with other settings: {'; '.join(changed)}. "
            "Resume with the old ones, or train into another folder."
        )


class MetricsFile:
    """``metrics.csv``: a row per logged step and per validation; empty cells were not measured.

    :param columns: all there will ever be.
    :param resumed_step: rows after this step are of a lost part of the run and are dropped.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, resumed_step: int | None) -> None:
        self.path, self.columns = path, list(columns)
        rows = [] if resumed_step is None else read_metrics(path)
        kept = [row for row in rows if float(row["step"]) <= (resumed_step or 0)]
        with new_file(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row and bring it to the disk."""
        shown = {name: f"{value:.8g}" for name, value in row.items()}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(shown)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a ``metrics.csv``, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def draw_curves(folder: Path, score: str) -> None:
    """Draw losses and the score over the steps into ``curves.png``.

    :param score: the name of the score's column.
    """
    from matplotlib.figure import Figure  # not pyplot: no display and no global state

    rows = read_metrics(folder / METRICS)
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, names in zip(axes, (("train_loss", "val_loss"), (f"val_{score}",)), strict=True):
        for name in names:
            points = [(float(r["step"]), float(r[name])) for r in rows if r.get(name)]
            if points:
                steps, values = zip(*points, strict=True)
                axis.plot(steps, values, label=name, marker="." if name != "train_loss" else None)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if axis.has_data():
            axis.legend()
    with new_file(folder / CURVES) as path:
        figure.savefig(path, dpi=120, format="png")
