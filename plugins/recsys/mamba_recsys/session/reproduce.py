"""The table of the card ``rec-session``: sessions cut from a log of users by pauses.

``python -m mamba_recsys.session.reproduce --root FOLDER --out FOLDER``

Users of ML-100K come and go: a pause of an hour ends a session, ids of users are thrown away. Every
run leaves a small file in ``--out``; what is there is not run again. Models are chosen on
validation sessions; test sessions are read once, after that.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from mamba_core.atomic import new_file
from mamba_recsys.readers import Columns
from mamba_recsys.reproduce import markdown
from mamba_recsys.session.recommender import SessionRecommender

FILE = "ml-100k/ml-100k.inter"
GAP = 3600.0
TRAIN: dict[str, Any] = {
    "max_epochs": 8, "batch_size": 32, "lr": 2e-3, "precision": "bf16", "patience": None,
}  # fmt: skip
PRESETS = ("mamba2_packed", "mamba4rec", "gru4rec", "sasrec")
COUNTING = ("popularity", "markov-1", "window-markov", "item-knn-last")


def run(path: Path, preset: str, seed: int) -> dict[str, Any]:
    """Fit a preset on training sessions and measure it, and what counts, on the test sessions.

    :returns: rows ``model, filter_seen, hr@20, ...``, and ``seconds`` of the processor.
    """
    begin = time.process_time()
    rec = SessionRecommender(
        preset, gap=GAP, columns=Columns(), train={**TRAIN, "val_every": 400}, seed=seed
    ).fit(path)
    seconds = time.process_time() - begin
    report = rec.evaluate(baselines=COUNTING if seed == 0 else ())
    data = rec.fitted.data
    return {
        "rows": report.table.to_dict("records"),
        "seconds": round(seconds, 1),
        "sessions": len(data.users),
        "targets": len(rec.fitted.parts.test),
    }


def table(folder: Path, presets: Sequence[str]) -> str:
    """Return what was run as a table: mean and deviation over the seeds."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*_s*.json"))]
    rows = []
    for label in (*COUNTING, *presets):
        runs = [run for run in found if label in {row["model"] for row in run["rows"]}]
        if label in COUNTING:
            runs = runs[:1]  # counting has no seed
        own = [row for run in runs for row in run["rows"] if row["model"] == label]
        plain, new = ([row for row in own if row["filter_seen"] == seen] for seen in (False, True))
        seconds = [] if label in COUNTING else [run["seconds"] for run in runs]
        rows.append((label, plain, new, seconds))
    return markdown(rows, k=20)


def main(words: Iterable[str] | None = None) -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--root", type=Path, required=True, help=f"folder with {FILE}")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, kept")
    parser.add_argument("--presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    given = parser.parse_args(None if words is None else list(words))
    torch.set_num_threads(1)
    folder = given.out / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for preset in given.presets:
            path = folder / f"{preset}_s{seed}.json"
            if not path.is_file():
                found = json.dumps(run(given.root / FILE, preset, seed), indent=1)
                with new_file(path) as unfinished:
                    unfinished.write_text(found, encoding="utf-8")
                print(f"{path.name}: {found}", flush=True)
    print(f"HR@20 / NDCG@20 / MRR@20\n\n{table(folder, given.presets)}")


if __name__ == "__main__":
    main()
