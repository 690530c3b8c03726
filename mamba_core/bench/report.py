"""What a benchmark found, as data and as a picture."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mamba_core.atomic import new_file
from mamba_core.bench.measure import Row, Settings, size_text

LENGTH = "L"
"""The entry of a size along which cases of one name form a curve."""

_SHORTEST = 1e-6
"""Milliseconds; in place of a processor time that the clock shows as none."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the time of one contender grows with length: ``time ~ L ** exponent``."""

    case: str
    contender: str
    exponent: float
    """Slope of a least-squares line through (log L, log shortest time); 1 is linear.

    The shortest of the rounds, because what others do on a machine only adds to a time.
    """
    cpu_exponent: float
    """The same for the median processor time, which others disturb less; not for a GPU's work."""
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows of one benchmark, and what is needed to repeat it."""

    benchmark: str
    machine: Mapping[str, Any]
    settings: Settings
    config: Any
    rows: Sequence[Row]
    facts: Mapping[str, float] = field(default_factory=dict)
    """What else was measured: rates of the machine, fractions, memory."""

    @property
    def growth(self) -> list[Growth]:
        """One entry per case and contender that was timed at three lengths or more."""
        curves: dict[tuple[str, str], dict[int, Row]] = {}
        for row in self.rows:
            if row.status == "ok" and LENGTH in row.size:
                curve = curves.setdefault((row.case, row.contender), {})
                curve[row.size[LENGTH]] = row
        return [
            Growth(
                case=case,
                contender=name,
                exponent=_slope({length: row.ms_min for length, row in curve.items()}),
                cpu_exponent=_slope({length: row.cpu_ms for length, row in curve.items()}),
                lengths=tuple(curve),
            )
            for (case, name), curve in curves.items()
            if len(curve) >= 3
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON has."""
        return {
            "benchmark": self.benchmark,
            "machine": dict(self.machine),
            "settings": dataclasses.asdict(self.settings),
            "config": dataclasses.asdict(self.config),
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "facts": dict(self.facts),
            "growth": [dataclasses.asdict(growth) for growth in self.growth],
        }

    def write(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        with new_file(path) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    def plot(self, path: Path) -> None:
        """Draw one panel per case: bars, or lines over length where there are several.

        :param path: its ending says the format, ``.png`` or ``.svg`` for instance.
        :raises ImportError: without matplotlib.
        """
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        names = list(dict.fromkeys(row.case for row in self.rows if row.ms is not None))
        figure, axes = plt.subplots(
            max(len(names), 1), figsize=(8, 3 * max(len(names), 1)), squeeze=False
        )
        for name, axis in zip(names, axes[:, 0], strict=False):
            _panel(axis, name, [row for row in self.rows if row.case == name and row.ms])
        figure.suptitle(f"{self.benchmark}: {self.machine['cpu']}, {self.machine['date']}")
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
        plt.close(figure)


def _panel(axis: Any, name: str, rows: Sequence[Row]) -> None:
    lengths = {row.size.get(LENGTH) for row in rows}
    if len(lengths) > 1:
        for contender in dict.fromkeys(row.contender for row in rows):
            mine = [row for row in rows if row.contender == contender]
            x, y = [row.size[LENGTH] for row in mine], [row.ms for row in mine]
            axis.plot(x, y, marker="o", label=contender)
        axis.set(title=name, xlabel=LENGTH, ylabel="ms", yscale="log")
        axis.set_xscale("log", base=2)
        axis.legend()
        return
    low = [(row.ms or 0) - (row.ms_q1 or 0) for row in rows]
    high = [(row.ms_q3 or 0) - (row.ms or 0) for row in rows]
    axis.barh([row.contender for row in rows], [row.ms for row in rows], xerr=[low, high])
    axis.set(title=f"{name} {size_text(rows[0].size)}", xlabel="ms", xlim=(0, None))
    axis.invert_yaxis()


def _slope(curve: Mapping[int, float | None]) -> float:
    x = [math.log(length) for length in curve]
    y = [math.log(ms or _SHORTEST) for ms in curve.values()]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean_x) ** 2 for a in x)
