"""Run the programs behind the tables of a task's card.

``make reproduce TASK=ts-forecast DATA=folder`` (``OUT=folder`` keeps the results; what is there is
not run again). Without ``TASK`` it says which tasks there are and how long each takes.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """One program and what to expect of it."""

    module: str
    words: tuple[str, ...]
    """Its arguments; ``{data}`` and ``{out}`` stand for the folders."""
    takes: str
    """An estimate, for one thread: most tables were made in parts, on a busy machine."""
    data: str
    """What the folder must hold."""


_RECSYS = "mamba_recsys.reproduce"
_ML100K = "ml-100k/ml-100k.inter"
_ML1M = "ml-1m/ml1m_sequences.npz"
_FORECAST = "mamba_timeseries.forecast.reproduce"
TABLES: dict[str, tuple[Table, ...]] = {
    "ts-forecast": (
        Table(_FORECAST, ("ETTh1", "--root", "{data}", "--out", "{out}"), "2 h", "ETTh1.csv"),
        Table(
            _FORECAST,
            ("Exchange", "--root", "{data}", "--out", "{out}"),
            "2 h",
            "exchange_rate.txt",
        ),
        Table(
            _FORECAST, ("ILI", "--root", "{data}", "--out", "{out}"), "1 h", "national_illness.csv"
        ),
    ),
    "ts-quantiles": (
        Table(
            "mamba_timeseries.forecast.reproduce_quantiles",
            ("--root", "{data}", "--out", "{out}"),
            "15 min",
            "ETTh1.csv",
        ),
    ),
    "ts-classify": (
        Table(
            "mamba_timeseries.classify.reproduce",
            ("--root", "{data}", "--out", "{out}"),
            "1 h",
            "a folder per set of the UCR and UEA archives, with its _TRAIN.ts and _TEST.ts",
        ),
    ),
    "ts-speed": (
        Table(
            "mamba_timeseries.forecast.speed",
            ("--out", "{out}.json", "--plot", "{out}.png"),
            "5 min",
            "nothing",
        ),
    ),
    "rec-next": (
        Table(_RECSYS, ("ml-100k", "--root", "{data}", "--out", "{out}"), "30 min", _ML100K),
        Table(_RECSYS, ("ml-1m", "--root", "{data}", "--out", "{out}"), "1 h", _ML1M),
        Table(
            _RECSYS, ("beauty", "--root", "{data}", "--out", "{out}"), "20 min", "beauty/Beauty.txt"
        ),
    ),
    "rec-session": (
        Table(
            "mamba_recsys.session.reproduce",
            ("--root", "{data}", "--out", "{out}"),
            "6 min",
            _ML100K,
        ),
    ),
    "rec-speed": (
        Table(
            "mamba_recsys.benchmark",
            ("--items", "100000", "--plot", "{out}.svg"),
            "3 min",
            "nothing",
        ),
        Table("mamba_recsys.service.load", ("--items", "100000"), "2 min", "nothing"),
    ),
    "audio-sep": (
        Table(
            "mamba_audio.separation.benchmark",
            ("--root", "{data}", "mixture", "irm", "ibm", "psm", "default"),
            "15 min",
            "libri8k, see the card",
        ),
    ),
    "audio-enhance": (
        Table(
            "mamba_audio.enhancement.benchmark",
            ("--root", "{data}", "noisy", "subtraction"),
            "3 min",
            "libri8k, see the card",
        ),
    ),
}


def listed() -> str:
    """Return the tasks, what their data is and how long they take."""
    lines = ["make reproduce TASK=... DATA=folder [OUT=folder]", ""]
    for task, tables in TABLES.items():
        for table in tables:
            shown = " ".join(word for word in table.words[:1] if not word.startswith("-"))
            lines.append(f"  {task:12} {shown:10} estimate {table.takes:7} data: {table.data}")
    return "\n".join(lines)


def main() -> None:
    """Run the tables of one task after each other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("task", nargs="?", default="")
    parser.add_argument("--data", default="")
    parser.add_argument("--out", default="reproduced")
    given = parser.parse_args()
    if given.task not in TABLES:
        sys.exit(f"no table of {given.task!r}\n{listed()}" if given.task else listed())
    tables = TABLES[given.task]
    if not given.data and any("{data}" in table.words for table in tables):
        needed = "; ".join(table.data for table in tables)
        sys.exit(f"DATA=folder is needed; it must hold: {needed}")
    for table in tables:
        words = [word.format(data=given.data, out=given.out) for word in table.words]
        print(f"python -m {table.module} {' '.join(words)}   (estimate: {table.takes})", flush=True)
        sys.argv = [table.module, *words]
        runpy.run_module(table.module, run_name="__main__")


if __name__ == "__main__":
    main()
