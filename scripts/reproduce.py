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


_FOLDERS = ("--root", "{data}", "--out", "{out}")
_FORECAST = "mamba_timeseries.forecast.reproduce"
TABLES: dict[str, tuple[Table, ...]] = {
    "ts-forecast": (Table(_FORECAST, ("ETTh1", *_FOLDERS), "1 h", "ETTh1.csv"),),
    "ts-forecast-336": (
        Table(
            _FORECAST,
            ("ETTh1", *_FOLDERS, "--input-size", "336", "--presets", "s_mamba_residual", "dlinear"),
            "12 min",
            "ETTh1.csv",
        ),
    ),
    "ts-exchange": (
        Table(
            _FORECAST,
            ("Exchange", *_FOLDERS, "--presets", "s_mamba_residual", "dlinear"),
            "6 min",
            "exchange_rate.txt",
        ),
    ),
    "ts-ili": (
        Table(
            _FORECAST,
            ("ILI", *_FOLDERS, "--presets", "s_mamba_residual", "s_mamba"),
            "20 min",
            "national_illness.csv",
        ),
    ),
    "ts-quantiles": (
        Table("mamba_timeseries.forecast.reproduce_quantiles", _FOLDERS, "15 min", "ETTh1.csv"),
    ),
    "ts-classify": (
        Table(
            "mamba_timeseries.classify.reproduce",
            _FOLDERS,
            "1 h",
            "a folder per set of the UCR and UEA archives, with its _TRAIN.ts and _TEST.ts",
        ),
    ),
    "ts-impute": (Table("mamba_timeseries.impute.reproduce", _FOLDERS, "6 min", "ETTh1.csv"),),
    "ts-anomaly": (
        Table(
            "mamba_timeseries.anomaly.reproduce",
            _FOLDERS,
            "10 min",
            "135_UCR_Anomaly_InternalBleeding16_TEST.csv, as aeon has it",
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
            lines.append(f"  {task:16} {shown:10} estimate {table.takes:7} data: {table.data}")
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
