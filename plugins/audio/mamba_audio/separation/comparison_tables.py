"""A comparison as tables in markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = {
    "si_snri": "mean",
    "median": "median",
    "p10": "10th percentile",
    "worst": "worst",
    "share_below_0db": "below 0 dB",
    "sdri": "SDRi",
    "group low/low": "low/low",
    "group mixed": "mixed",
    "group high/high": "high/high",
}
"""Statistic -> its column."""


def page(report: Mapping[str, Any]) -> str:
    """Return both tables, what to know before reading them, and what they were measured on.

    :param report: what ``compare.py`` writes as JSON.
    """
    machine = report["machine"]
    used = ", ".join(
        f"{name} {machine[name]}" for name in ("cpu", "instructions", "threads", "torch", "date")
    )
    parts = [
        "SI-SNRi in dB on the frozen mixtures (SDRi where named; by pitch group: means): mean over "
        "the seeds ± sample standard deviation.",
        _table(_quality(report)),
        "Costs of one of them. CPU seconds per second of audio, on one thread, and peak memory of "
        "the process, by length of the file:",
        _table(_cost(report)),
        *report["notes"],
        f"Measured on: {used}.",
    ]
    return "\n\n".join(parts) + "\n"


def _quality(report: Mapping[str, Any]) -> list[list[str]]:
    rows = [["system", "seeds", "steps", *_COLUMNS.values(), "verdict"]]
    for name, values in report["beside"].items():
        flat = values | {f"group {group}": v for group, v in values["groups"].items()}
        single = {key: {"mean": value, "std": None} for key, value in flat.items()}
        rows.append([name, "", "", *_cells(single), ""])
    for name, system in report["systems"].items():
        seeds = ", ".join(map(str, system["seeds"]))
        cells = _cells(system["scores"])
        rows.append([name, seeds, f"{system['steps']:,}", *cells, system["verdict"]])
    return rows


def _cells(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [_cell(name, scores.get(name)) for name in _COLUMNS]


def _cell(name: str, value: Mapping[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return ""
    percent = name == "share_below_0db"
    scale, digits = (100, 1) if percent else (1, 2)
    text = f"{round(value['mean'] * scale, digits) + 0.0:.{digits}f}"  # no -0.00
    if value["std"] is not None:
        text += f" ± {value['std'] * scale:.{digits}f}"
    return f"{text} %" if percent else text


def _cost(report: Mapping[str, Any]) -> list[list[str]]:
    systems = report["systems"]
    lengths = [name for name in next(iter(systems.values()))["cost"] if name.endswith(" s")]
    head = ["system", "parameters", "GMAC per second"]
    rows = [[*head, *(f"{what}, {n}" for n in lengths for what in ("CPU s/s", "peak MiB"))]]
    for name, system in systems.items():
        cost = system["cost"]
        measured = [
            text
            for n in lengths
            for text in (f"{cost[n]['real_time_factor']:.3f}", f"{cost[n]['peak_mib']:.0f}")
        ]
        size = [f"{cost['parameters']:,}", f"{cost['macs_per_second'] / 1e9:.3f}"]
        rows.append([name, *size, *measured])
    return rows


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
