"""All that is promised of the scans in one run: speed, growth, memory, threads; and the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.bench import machine_speed, one_token, scan, ssd
from mamba_core.bench.measure import Case, Contender, Row, threads
from mamba_core.bench.memory import extra_bytes, extra_device_bytes
from mamba_core.bench.scan import Dtype
from mamba_core.config import STRICT

Count = Annotated[int, Field(ge=1)]
PEERS: Mapping[str, Any] = {**scan.PEERS, **ssd.PEERS}
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Sizes."""

    batch: Count = 2
    """Sequences of the selective scan, B."""
    channels: Count = 1536
    """Its channels, D; of the one token too."""
    length: Count = 2048
    """Its tokens, L."""
    state: Count = 16
    """State per channel, N."""
    dtype: Dtype = "float32"
    """Of the tokens; parameters and states are float32."""
    ssd_batch: Count = 1
    """Sequences of SSD."""
    ssd_length: Count = 2048
    """Its tokens."""
    heads: Count = 24
    """Heads of SSD, H."""
    headdim: Count = 64
    """Channels of a head, P."""
    ssd_state: Count = 128
    """State per channel of SSD, N."""
    tokens: Count = 64
    """Calls in one timing of the one token."""
    linear_lengths: tuple[Count, ...] = (1024, 4096, 16384, 65536)
    """Lengths of the curve (64 channels, one sequence); [] for none."""


def cases(config: Config, against: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Both scans, one token, growth with length; on a CPU, one thread and two."""
    place: dict[str, Any] = {"dtype": getattr(torch, config.dtype), "device": device}
    size = {"B": config.batch, "D": config.channels, "L": config.length, "N": config.state}
    for backward in (False, True):
        name = f"selective_scan {_pass(backward)}"
        yield scan.case(name, size, against, backward=backward, **place)
    for case in ssd.cases(_ssd(config), against, device):
        yield replace(case, name=f"ssd {case.name}")
    for batch in (1, 8):
        token = {"B": batch, "D": config.channels, "N": config.state, "tokens": config.tokens}
        yield one_token.case(token, against, **place)
    for length in config.linear_lengths:
        long = {"B": 1, "D": 64, "L": length, "N": config.state}
        name = "selective_scan by length"
        yield scan.case(name, long, (), backward=False, exact_by="eager", **place)
    if device.type == "cpu" and (os.cpu_count() or 1) > 1:
        name = "selective_scan by threads"
        yield _by_threads(scan.case(name, size, (), backward=False, **place))


def _ssd(config: Config) -> ssd.Config:
    return ssd.Config(
        batch=config.ssd_batch,
        length=config.ssd_length,
        heads=config.heads,
        headdim=config.headdim,
        state=config.ssd_state,
        dtype=config.dtype,
    )


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


def facts(config: Config, rows: Sequence[Row], device: torch.device) -> dict[str, float]:
    """The device's rates, what fraction of each the forward passes reach, and memory.

    Fractions are those of the best backend, by shortest wall-clock times.
    """
    speed = machine_speed.rates(device)
    moved, exp = ("copy", "exp2") if device.type == "cuda" else ("triad", "torch.exp")
    width = getattr(torch, config.dtype).itemsize
    found = {f"{moved} GB/s": speed.gb_per_s, f"{exp} Gexp/s": speed.gexp_per_s}
    for row in rows:
        work = _work(row, width)
        if row.status != "ok" or row.ms_min is None or row.ratio != 1.0 or work is None:
            continue
        seconds = row.ms_min / 1e3
        name = f"{row.case}, {row.contender}"
        found[f"{name}: of {moved}"] = work.bytes / seconds / 1e9 / speed.gb_per_s
        found[f"{name}: of {exp}"] = work.exponentials / seconds / 1e9 / speed.gexp_per_s
    return found | _memory(config, device)


def _work(row: Row, width: int) -> machine_speed.Work | None:
    size = dict(row.size)
    if row.case == "selective_scan forward":
        return machine_speed.scan_work(**size, width=width)
    if row.case == "ssd forward":
        return machine_speed.ssd_work(**size, width=width)
    if row.case.startswith("one token"):
        return machine_speed.step_work(**size, width=width)
    return None


def _memory(config: Config, device: torch.device) -> dict[str, float]:
    """Largest memory of the forward pass over what its output takes, per backend."""
    size = {"B": config.batch, "D": config.channels, "L": config.length, "N": config.state}
    dtype = getattr(torch, config.dtype)
    case = scan.case("memory", size, (), backward=False, dtype=dtype, device=device)
    output = dtype.itemsize * config.batch * config.channels * config.length
    found = {}
    for contender in case.contenders:
        if contender.skip is not None:
            continue
        with contender.around():
            if device.type == "cuda":
                extra: int | None = extra_device_bytes(contender.call, device)
            else:
                extra = extra_bytes(contender.call)
        if extra is not None:
            found[f"selective_scan forward, {contender.name}: memory / output"] = extra / output
    return found
