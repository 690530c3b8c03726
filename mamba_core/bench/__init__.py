"""The benchmark room: speeds on this machine, of results that were checked first.

A benchmark is a module with ``Config`` (its sizes), ``PEERS`` (implementations to compare with),
``DEVICES`` (kinds of device that it knows) and ``cases(config, against, device)``, which yields
:class:`Case` after :class:`Case`; it may have
``facts(config, rows, device)``, which measures what is no time of a contender. The harness does
the rest: nothing is timed before its result agrees with float64, and all contenders of the cases of
one name are timed in turns, because a shared machine changes its speed from minute to minute.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, cast

from mamba_core.bench.measure import Case, Contender, Row, Settings, Verdict, measure, threads
from mamba_core.bench.report import Report

if TYPE_CHECKING:
    import torch

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Case",
    "Contender",
    "Report",
    "Row",
    "Settings",
    "Verdict",
    "find",
    "measure",
    "run",
]

BENCHMARKS: Mapping[str, str] = {
    "kernels": "both scans, one token, growth, memory and threads, beside what the machine can do",
    "scan": "selective scan (Mamba-1), forward and backward, and its growth with length",
    "ssd": "scan of Mamba-2 (SSD), forward and backward",
    "orders": "scan orders: lookup, building, and four paths in one scan",
    "layers": "layers of Mamba-1 and -2 beside attention by length, and one token of a large one",
    "startup": "import of mamba_core and `mamba-core list`, as whole processes",
}
"""Name of the module in this package -> what it measures."""


class Benchmark(Protocol):
    """What a benchmark's module has."""

    Config: type
    """A pydantic dataclass; its fields are the benchmark's flags."""
    PEERS: Mapping[str, Callable[..., Sequence[Contender]]]
    """Other implementations by name; each makes contenders from the case's inputs."""

    DEVICES: Sequence[str]
    """Types of device that it can measure."""

    def cases(
        self, config: Any, against: Sequence[str], device: torch.device
    ) -> Iterable[Case]: ...


def find(name: str) -> Benchmark:
    """Import the benchmark of that name.

    :raises ValueError: for a name that is not in :data:`BENCHMARKS`.
    """
    from mamba_registry import suggest

    if name not in BENCHMARKS:
        raise ValueError(
            f"No benchmark named '{name}'.{suggest(name, BENCHMARKS)} "
            f"Available: {', '.join(BENCHMARKS)}."
        )
    return cast(Benchmark, importlib.import_module(f"mamba_core.bench.{name}"))


def run(
    name: str,
    settings: Settings | None = None,
    *,
    against: Sequence[str] | None = None,
    device: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    **fields: Any,
) -> Report:
    """Run one benchmark.

    :param name: of :data:`BENCHMARKS`.
    :param against: names of the benchmark's ``PEERS``; None takes all.
    :param device: where; None is the CPU.
    :param progress: told what runs now, and how many of how many calls of its case are done.
    :param fields: of the benchmark's ``Config``.
    :raises ValueError: for an unknown benchmark, peer or field, for values out of range, and for a
        device that is not there or that the benchmark does not know.
    """
    from mamba_core.bench.machine import describe

    settings = settings or Settings()
    benchmark = find(name)
    place = _chosen(name, benchmark, device)
    peers = _checked(tuple(benchmark.PEERS), against)
    config = _config(name, benchmark.Config, fields)
    machine = describe(settings.threads, place)
    groups = groupby(benchmark.cases(config, peers, place), key=attrgetter("name"))
    rows = [
        row for _, cases in groups for row in measure(tuple(cases), settings, progress=progress)
    ]
    with threads(settings.threads):
        facts = benchmark.facts(config, rows, place) if hasattr(benchmark, "facts") else {}
    return Report(
        benchmark=name, machine=machine, settings=settings, config=config, rows=rows, facts=facts
    )


def _chosen(name: str, benchmark: Benchmark, device: str | None) -> torch.device:
    from mamba_core.device import choose_device

    place = choose_device(device or "cpu")
    if place.type not in benchmark.DEVICES:
        known = ", ".join(benchmark.DEVICES)
        raise ValueError(f"device '{device}': {name} is measured on {known} only.")
    return place


def _config(name: str, kind: type, fields: Mapping[str, Any]) -> Any:
    from pydantic import ValidationError

    from mamba_core.registry import config_error

    try:
        return kind(**fields)
    except ValidationError as error:
        raise config_error(error, name, kind) from None


def _checked(known: Sequence[str], wanted: Sequence[str] | None) -> Sequence[str]:
    from mamba_registry import suggest

    for name in wanted or ():
        if name not in known:
            there = f"Available: {', '.join(known)}." if known else "This benchmark has none."
            raise ValueError(
                f"No implementation named '{name}' to compare with.{suggest(name, known)} {there}"
            )
    return known if wanted is None else wanted
