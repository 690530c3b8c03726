"""One measurement in a process of its own: its bounds hold, its result comes back."""

from __future__ import annotations

from functools import partial

import pytest

from mamba_core.bench.alone import alone


def _greedy():
    return {"bytes": len(bytearray(2**32))}


def _late():
    while True:
        pass


@pytest.mark.slow
def test_a_process_of_its_own_is_bounded():
    assert alone(_greedy, seconds=100, gib=2) == {"failed": "over 2 GiB"}
    assert alone(_late, seconds=1, gib=4) == {"failed": "over 1 s"}


@pytest.mark.slow
def test_what_is_measured_comes_back():
    assert alone(partial(dict, ms=3), seconds=100, gib=2) == {"ms": 3}
