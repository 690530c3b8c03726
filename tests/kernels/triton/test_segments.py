"""The selective scan cut into segments of time: by which rule, and that it changes nothing.

The rule needs no GPU. The kernels run in the interpreter, started by ``test_start_interpreter.py``,
with the shortest segments that the kernels can take.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in a process of its own"
)
H200 = 132  # multiprocessors


@pytest.mark.parametrize(
    ("warps", "steps", "expected"),
    [
        (512, 2048, None),  # batch 8 of 2048 channels: one warp for nearly every scheduler
        (264, 65536, None),  # half of the schedulers: the second pass would cost what it wins
        (64, 65536, 4032),  # batch 1 of 2048 channels: 17 segments
        (64, 2048, 256),
        (64, 1023, None),  # too short for four segments
        (1, 1 << 20, 1024),  # a narrow layer
    ],
)
def test_span(warps: int, steps: int, expected: int | None) -> None:
    from mamba_kernels.backends.triton.scan_segments import span_of

    assert span_of(warps, steps, H200) == expected


@given(st.integers(1, 4096), st.integers(1, 1 << 22), st.integers(0, 512))
def test_spans_fill_the_schedulers_and_no_more(
    warps: int, steps: int, multiprocessors: int
) -> None:
    from mamba_kernels.backends.triton.scan_call import EVERY
    from mamba_kernels.backends.triton.scan_segments import FEWEST, FULL, SHORTEST, span_of

    span = span_of(warps, steps, multiprocessors)
    if span is None:
        return
    assert span % EVERY == 0
    assert span >= SHORTEST
    assert steps / span >= FEWEST
    assert warps * steps / span <= 2 * FULL * multiprocessors
    assert 2 * warps < FULL * multiprocessors


@interpreted
def test_reference_agrees(
    segments: tuple[int, dict[str, Any]],
    compare: Callable[..., None],
    cut: Callable[[int], None],
    poisoned: None,
) -> None:
    span, sizes = segments
    cut(span)
    compare("selective_scan", sizes, "cpu", torch.float32)
