"""Trainings of several networks, each from several seeds, beside each other on libri8k-2mix.

    python -m mamba_audio.separation.compare --root FOLDER_OF_LIBRI8K --out DIR \\
        RUN_OF_SEED_0 RUN_OF_SEED_1 ... --beside mixture psm

Runs of one network are recognised by their configs. ``DIR/comparison.json`` holds every value,
``DIR/comparison.md`` the tables. A run that was measured into ``DIR`` before is not measured
again while its weights are the same, so seeds can be added as they finish.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mamba_audio.separation import comparison_tables
from mamba_audio.separation.benchmark import find_system, libri8k, progress_of, score, speaker_pitch
from mamba_audio.separation.cost import cost_row
from mamba_audio.separation.data import FrozenMixtures
from mamba_audio.separation.runs import Run, by_system, differences, read_run
from mamba_core.atomic import new_file
from mamba_core.bench.machine import describe
from mamba_core.pretrained import model_folder

JSON, TABLES = "comparison.json", "comparison.md"

Values = dict[str, Any]
"""A system's :class:`~mamba_audio.separation.benchmark.Scores` as plain data."""
Measure = Callable[[str], Values]
"""The folder of a model, or the name of an oracle -> its values."""


@dataclass(frozen=True)
class Spread:
    """One statistic over the seeds."""

    mean: float
    std: float | None
    """Sample standard deviation; None for a single seed."""
    values: tuple[float, ...]
    """One per seed, in their order."""


def spread(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation."""
    several = len(values) > 1
    std = statistics.stdev(values) if several else None
    return Spread(statistics.fmean(values), std, tuple(values))


def summary(scores: Sequence[Values]) -> dict[str, Spread]:
    """Return every statistic of a system over its seeds; ``groups`` as ``group low/low``, ...

    Statistics that not every seed has are left out.
    """
    flat = [
        {name: value for name, value in row.items() if isinstance(value, int | float)}
        | {f"group {name}": value for name, value in row["groups"].items()}
        for row in scores
    ]
    names = [name for name in flat[0] if all(name in row for row in flat)]
    return {name: spread([row[name] for row in flat]) for name in names}


PREVIEW_DB, PREVIEW_SHARE = 6.0, 0.05
"""Below this mean, or with this share of items below 0 dB, a checkpoint is a preview."""
SUSPICIOUS_DB = 13.0
"""Small networks, trained on 48 minutes of speech, do not get there without a leak."""


def verdict(scores: Mapping[str, Spread]) -> str:
    """Return what a system may be called, by its means: preview, trained, or audit first."""
    mean, failures = scores["si_snri"].mean, scores["share_below_0db"].mean
    if mean > SUSPICIOUS_DB:
        return "audit first"
    return "trained" if mean >= PREVIEW_DB and failures < PREVIEW_SHARE else "preview"


def compare(
    runs: Sequence[Run],
    measure: Measure,
    *,
    known: Sequence[Mapping[str, Any]] = (),
    keep: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
) -> list[dict[str, Any]]:
    """Measure runs, grouped by system.

    :param measure: called for runs whose weights are not among the known ones.
    :param known: rows of an earlier comparison.
    :param keep: called with all rows so far after each one.
    :returns: a row per run: ``system, folder, seed, steps, sha256, scores``.
    :raises ValueError: see :func:`~mamba_audio.separation.runs.by_system`.
    """
    before = {row["sha256"]: row["scores"] for row in known}
    rows: list[dict[str, Any]] = []
    for system, group in by_system(runs).items():
        for run in group:
            sha256 = run.sha256
            scores = before.get(sha256) or measure(str(model_folder(run.folder)))
            row = {"system": system, "folder": run.folder.name, "seed": run.seed}
            rows.append(row | {"steps": run.steps, "sha256": sha256, "scores": scores})
            keep(rows)
    return rows


def notes(runs: Sequence[Run]) -> list[str]:
    """Return what a reader has to know before comparing the systems."""
    found = [
        f"{run.folder.name} stopped after {run.steps} of {run.planned} steps."
        for run in runs
        if run.planned is not None and run.steps < run.planned
    ]
    groups = by_system(runs)
    settings = {system: group[0].settings for system, group in groups.items()}
    for name in differences(list(settings.values())):
        each = ", ".join(f"{values.get(name)} ({system})" for system, values in settings.items())
        found.append(f"Not trained alike: {name} is {each}.")
    counts = {len(group) for group in groups.values()}
    if counts and (len(counts) > 1 or min(counts) < 3):
        found.append("Fewer than three seeds, or not the same number for all.")
    return found


def measure_with(mixtures: FrozenMixtures, pitch: dict[str, float], *, sdr: bool) -> Measure:
    """Return what measures a system on the frozen mixtures."""

    def measure(name: str) -> Values:
        system = find_system(name)
        with progress_of(name) as show:
            return asdict(score(system, mixtures, pitch=pitch, sdr=sdr, progress=show))

    return measure


def _known(path: Path, *, sdr: bool) -> list[dict[str, Any]]:
    """Return the rows of an earlier comparison, but those that lack what is asked for."""
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["runs"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no comparison: choose another --out") from error
    return [row for row in rows if not sdr or row["scores"]["sdri"] is not None]


def _system(group: Sequence[Run], scores: Sequence[Values]) -> dict[str, Any]:
    """What is said of a system over its seeds, as plain data."""
    found = summary(scores)
    return {
        "seeds": [run.seed for run in group],
        "steps": max(run.steps for run in group),
        "verdict": verdict(found),
        "scores": {name: asdict(value) for name, value in found.items()},
    }


def _write(path: Path, text: str) -> None:
    with new_file(path) as part:
        part.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure and write both files."""
    parser = argparse.ArgumentParser(prog="python -m mamba_audio.separation.compare")
    parser.add_argument("runs", nargs="+", type=Path, help="results folders of `mamba-core train`")
    parser.add_argument("--root", type=Path, required=True, help="folder of libri8k")
    parser.add_argument("--out", type=Path, required=True, help="folder, new or of this program")
    parser.add_argument("--beside", nargs="*", default=[], help="mixture, irm, ibm, psm, weights")
    parser.add_argument("--seconds", type=float, nargs="*", default=[60], help="files to time")
    parser.add_argument("--no-sdr", action="store_true", help="leave SDRi out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    out, sdr = given.out, not given.no_sdr
    try:
        runs = [read_run(folder) for folder in given.runs]
        known = _known(out / JSON, sdr=sdr)
        warnings = notes(runs)
    except ValueError as error:
        parser.error(str(error))
    pitch = speaker_pitch(given.root / "speakers_test.csv")
    measure = measure_with(libri8k(given.root), pitch, sdr=sdr)
    report: dict[str, Any] = {"machine": describe(1), "notes": warnings}

    def keep(rows: list[dict[str, Any]]) -> None:
        done = {row["sha256"] for row in rows}
        waiting = [row for row in known if row["sha256"] not in done]  # not lost by Ctrl-C
        _write(out / JSON, json.dumps(report | {"runs": rows + waiting}, indent=2) + "\n")

    rows = compare(runs, measure, known=known, keep=keep)
    report["runs"] = rows
    report["systems"] = {
        system: _system(group, [row["scores"] for row in rows if row["system"] == system])
        | {"cost": cost_row(str(model_folder(group[0].folder)), given.seconds)}
        for system, group in by_system(runs).items()
    }
    report["beside"] = {name: measure(name) for name in given.beside}
    _write(out / JSON, json.dumps(report, indent=2) + "\n")
    text = comparison_tables.page(report)
    _write(out / TABLES, text)
    print(text)


if __name__ == "__main__":
    main()
