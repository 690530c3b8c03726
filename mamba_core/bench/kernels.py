"""All that is promised of the scans in one run: speed, growth, memory, threads; and the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.bench import machine_speed, one_token, scan, ssd
from mamba_core.bench.measure import Case, Contender, Row, threads
from mamba_core.bench.memory import extra_bytes
from mamba_core.config import STRICT

Count = Annotated[int, Field(ge=1)]
PEERS: Mapping[str, Any] = {**scan.PEERS, **ssd.PEERS}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Sizes; float32."""

    batch: Count = 2
    """Sequences of the selective scan, B."""
    channels: Count = 1536
    """Its channels, D; of the one token too."""
    length: Count = 2048
    """Tokens of both scans, L."""
    state: Count = 16
    """State per channel, N."""
    heads: Count = 24
    """Heads of SSD (one sequence), H."""
    headdim: Count = 64
    """Channels of a head, P."""
    ssd_state: Count = 128
    """State per channel of SSD, N."""
    tokens: Count = 64
    """Calls in one timing of the one token."""
    linear_lengths: tuple[Count, ...] = (1024, 4096, 16384, 65536)
    """Lengths of the curve (64 channels, one sequence); [] for none."""


def cases(config: Config, against: Sequence[str]) -> Iterator[Case]:
    """Both scans, one token, growth with length, one thread and two."""
    size = {"B": config.batch, "D": config.channels, "L": config.length, "N": config.state}
    for backward in (False, True):
        yield scan.case(f"selective_scan {_pass(backward)}", size, against, backward=backward)
    heads = {"heads": config.heads, "headdim": config.headdim, "state": config.ssd_state}
    scans = ssd.cases(
        ssd.Config(length=config.length, **heads), [name for name in against if name in ssd.PEERS]
    )
    for case in scans:
        yield replace(case, name=f"ssd {case.name}")
    for batch in (1, 8):
        token = {"B": batch, "D": config.channels, "N": config.state, "tokens": config.tokens}
        yield one_token.case(token, against)
    for length in config.linear_lengths:
        long = {"B": 1, "D": 64, "L": length, "N": config.state}
        yield scan.case("selective_scan by length", long, (), backward=False, exact_by="eager")
    if (os.cpu_count() or 1) > 1:
        yield _by_threads(scan.case("selective_scan by threads", size, (), backward=False))


def _pass(backward: bool) -> str:
    return "forward+backward" if backward else "forward"


def _by_threads(case: Case) -> Case:
    """The first backend that can, with two threads and with one."""
    able = next(contender for contender in case.contenders if contender.skip is None)

    def around(count: int) -> AbstractContextManager[Any]:
        both = ExitStack()
        both.enter_context(able.around())
        both.enter_context(threads(count))
        return both

    contenders = [
        Contender(f"{able.name}, threads {count}", able.call, around=lambda n=count: around(n))  # type: ignore[misc]
        for count in (2, 1)
    ]
    return replace(case, contenders=contenders)


def facts(config: Config, rows: Sequence[Row]) -> dict[str, float]:
    """The machine's rates, what fraction of each the forward passes reach, and memory.

    Fractions are those of the best backend, by shortest wall-clock times.
    """
    speed = machine_speed.rates()
    found = {"triad GB/s": speed.gb_per_s, "torch.exp Gexp/s": speed.gexp_per_s}
    for row in rows:
        work = _work(row)
        if row.status != "ok" or row.ms_min is None or row.ratio != 1.0 or work is None:
            continue
        seconds = row.ms_min / 1e3
        name = f"{row.case}, {row.contender}"
        found[f"{name}: of triad"] = work.bytes / seconds / 1e9 / speed.gb_per_s
        found[f"{name}: of torch.exp"] = work.exponentials / seconds / 1e9 / speed.gexp_per_s
    return found | _memory(config)


def _work(row: Row) -> machine_speed.Work | None:
    size = dict(row.size)
    if row.case == "selective_scan forward":
        return machine_speed.scan_work(**size)
    if row.case == "ssd forward":
        return machine_speed.ssd_work(**size)
    if row.case.startswith("one token"):
        return machine_speed.step_work(**size)
    return None


def _memory(config: Config) -> dict[str, float]:
    """Largest memory of the forward pass over what its output takes, per backend."""
    size = (config.batch, config.channels, config.length, config.state)
    case = scan.case("memory", dict(zip("BDLN", size, strict=True)), (), backward=False)
    found = {}
    for contender in case.contenders:
        if contender.skip is None:
            with contender.around():
                extra = extra_bytes(contender.call)
            if extra is not None:
                output = 4 * config.batch * config.channels * config.length
                found[f"selective_scan forward, {contender.name}: memory / output"] = extra / output
    return found
