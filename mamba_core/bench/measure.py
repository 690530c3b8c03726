"""The harness: check first, then time all contenders in turns."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as config_dataclass

from mamba_core.bench.clock import Clock, HostClock, Time
from mamba_core.config import STRICT

MIN_ROUNDS = 3
"""A median of fewer says nothing; contenders that use up the time still get these."""


@config_dataclass(frozen=True, kw_only=True, config=STRICT)
class Settings:
    """How everything is timed."""

    rounds: Annotated[int, Field(ge=1)] = 7
    """Timed calls per contender."""
    seconds: Annotated[float, Field(gt=0)] = 60.0
    """After this much timing a case stops early, but not before 3 rounds."""
    threads: Annotated[int, Field(ge=1)] = 1
    """Of torch."""


@dataclass(frozen=True)
class Verdict:
    """What the judge of a case says about one result."""

    error: float | None = None
    """Largest relative error, None where there is nothing to compare."""
    complaint: str | None = None
    """Why the result is wrong; None when it is right."""


@dataclass(frozen=True)
class Contender:
    """One way to do what a case asks for."""

    name: str
    call: Callable[[], Any]
    """What is timed; its result is what the judge sees."""
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Entered before the clock starts: a choice of backend, for instance."""
    skip: str | None = None
    """Why it cannot take part here."""


@dataclass(frozen=True)
class Case:
    """One question, put to several contenders."""

    name: str
    """``forward``, for instance. Cases of one name and several lengths form a curve."""
    size: Mapping[str, int]
    contenders: Sequence[Contender]
    """The first one that can be timed is what the others are compared with."""
    judge: Callable[[Any], Verdict]
    bound: float | None = None
    """The largest relative error that the judge lets pass."""
    clock: Clock = field(default_factory=HostClock)
    """What times a call; for devices that work on their own, theirs."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one contender of one case; times in milliseconds."""

    case: str
    size: Mapping[str, int]
    contender: str
    status: Literal["ok", "wrong", "failed", "skipped"]
    """Only ``ok`` was timed."""
    ms: float | None = None
    """Median."""
    ms_q1: float | None = None
    ms_q3: float | None = None
    ms_min: float | None = None
    cpu_ms: float | None = None
    """Median processor time, of all threads and ended children: what it costs, waiting left out.
    On a GPU, what launching costs."""
    rounds: int = 0
    ratio: float | None = None
    """Median over the rounds of its time to the first contender's time in the same round."""
    error: float | None = None
    bound: float | None = None
    note: str = ""
    """Why it was not timed."""


Progress = Callable[[str, int, int], None]


def measure(
    cases: Sequence[Case], settings: Settings, *, progress: Progress | None = None
) -> list[Row]:
    """Check and time the contenders of cases that are to be compared; rows in their order.

    All of them take turns, so that a machine that becomes slower does so for all.

    :param progress: told what runs now, and how many of how many calls are done.
    """
    tell = progress or (lambda text, done, total: None)
    every = [(case, contender) for case in cases for contender in case.contenders]
    total = len(every) * (1 + settings.rounds)
    with threads(settings.threads):
        rows = []
        for index, (case, contender) in enumerate(every):
            tell(f"{case.name} {size_text(case.size)}: checking {contender.name}", index, total)
            rows.append(_gate(case, contender))
        ready = [i for i, row in enumerate(rows) if row.status == "ok"]

        def round_done(number: int) -> None:
            tell(f"{cases[0].name}: timing", (1 + number) * len(every), total)

        calls = [(every[i][1], every[i][0].clock) for i in ready]
        times = dict(zip(ready, _in_turns(calls, settings, round_done), strict=True))
    tell(cases[0].name, total, total)
    firsts: dict[int, int] = {}
    for i in ready:
        firsts.setdefault(id(every[i][0]), i)
    return [
        _timed(row, times[i], times[firsts[id(every[i][0])]]) if i in times else row
        for i, row in enumerate(rows)
    ]


def _gate(case: Case, contender: Contender) -> Row:
    """Run a contender once, which also warms it up, and let the case's judge see the result."""

    def row(status: Literal["ok", "wrong", "failed", "skipped"], **more: Any) -> Row:
        return Row(
            case=case.name,
            size=dict(case.size),
            contender=contender.name,
            status=status,
            bound=case.bound,
            **more,
        )

    if contender.skip is not None:
        return row("skipped", note=contender.skip)
    try:
        with contender.around():
            result = contender.call()
            case.clock.settle()
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        return row("failed", note=f"{type(error).__name__}: {reason}")
    verdict = case.judge(result)
    if verdict.complaint is not None:
        return row("wrong", error=verdict.error, note=verdict.complaint)
    return row("ok", error=verdict.error)


def _in_turns(
    calls: Sequence[tuple[Contender, Clock]],
    settings: Settings,
    round_done: Callable[[int], None],
) -> list[list[Time]]:
    """The times of all rounds, contender by contender; each round starts with another one."""
    times: list[list[Time]] = [[] for _ in calls]
    started = time.perf_counter()
    with _no_garbage_collection():
        for number in range(settings.rounds if calls else 0):
            late = time.perf_counter() - started > settings.seconds
            if late and number >= MIN_ROUNDS:
                break
            for place in range(len(calls)):
                index = (place + number) % len(calls)
                times[index].append(_clocked(*calls[index]))
            round_done(number + 1)
    return times


def _clocked(contender: Contender, clock: Clock) -> Time:
    with contender.around():
        return clock.time(contender.call)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Python's collector would fall on one contender or another by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _timed(row: Row, times: Sequence[Time], first: Sequence[Time]) -> Row:
    q1, middle, q3 = _quartiles([spent.wall for spent in times])
    return replace(
        row,
        ms=middle * 1e3,
        ms_q1=q1 * 1e3,
        ms_q3=q3 * 1e3,
        ms_min=min(spent.wall for spent in times) * 1e3,
        cpu_ms=statistics.median(spent.cpu for spent in times) * 1e3,
        rounds=len(times),
        ratio=statistics.median(a.wall / b.wall for a, b in zip(times, first, strict=True)),
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    q1, middle, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return q1, middle, q3


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Give torch so many threads; afterwards it has what it had."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def size_text(size: Mapping[str, int]) -> str:
    """Return ``B=2 D=1536``."""
    return " ".join(f"{name}={value}" for name, value in size.items())
