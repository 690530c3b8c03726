"""The harness: what is checked, what is timed, what a row says."""

from __future__ import annotations

import dataclasses
import os
import time

import pytest
import torch

from mamba_core.bench import Case, Contender, Settings, Verdict, measure
from mamba_core.bench.clock import HostClock
from mamba_core.bench.measure import MIN_ROUNDS, threads

TWICE = Settings(rounds=2)


def right(result):
    return Verdict(0.0) if result == 4 else Verdict(1.0, f"{result} is not 4")


def case(*contenders, **more):
    return Case("sum", {"L": 4}, contenders, right, bound=0.5, **more)


def test_a_wrong_contender_is_not_timed():
    calls = []
    wrong = Contender("wrong", lambda: calls.append(1) or 5)
    rows = measure([case(Contender("right", lambda: 4), wrong)], TWICE)
    assert [row.status for row in rows] == ["ok", "wrong"]
    assert len(calls) == 1  # the check only
    assert rows[1].ms is None
    assert rows[1].ratio is None
    assert rows[1].error == 1.0
    assert rows[1].note == "5 is not 4"


def test_rows_are_complete():
    (row,) = measure([case(Contender("right", lambda: 4))], TWICE)
    assert dataclasses.asdict(row) == {
        "case": "sum",
        "size": {"L": 4},
        "contender": "right",
        "status": "ok",
        "ms": row.ms,
        "ms_q1": row.ms_q1,
        "ms_q3": row.ms_q3,
        "ms_min": row.ms_min,
        "cpu_ms": row.cpu_ms,
        "rounds": 2,
        "ratio": 1.0,
        "error": 0.0,
        "bound": 0.5,
        "note": "",
    }
    assert row.cpu_ms >= 0
    assert 0 < row.ms_min <= row.ms_q1 <= row.ms <= row.ms_q3


def test_ratio_is_to_the_first_that_was_timed():
    def slow():
        time.sleep(0.02)
        return 4

    def boom():
        raise RuntimeError("no such kernel\nsecond line")

    rows = measure(
        [
            case(
                Contender("absent", slow, skip="not here"),
                Contender("broken", boom),
                Contender("a", slow),
                Contender("b", lambda: 4),
            )
        ],
        TWICE,
    )
    absent, broken, a, b = rows
    assert (absent.status, absent.note) == ("skipped", "not here")
    assert (broken.status, broken.note) == ("failed", "RuntimeError: no such kernel")
    assert a.ratio == 1.0
    assert a.ms >= 20  # the clock saw the sleep
    assert 0 < b.ratio < 1


def test_contenders_take_turns():
    calls = []

    def contender(name):
        return Contender(name, lambda: calls.append(name) or 4)

    measure([case(contender("a"), contender("b"))], Settings(rounds=3))
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_cases_take_turns_and_have_firsts_of_their_own():
    calls = []

    def contender(name, seconds):
        return Contender(name, lambda: calls.append(name) or time.sleep(seconds) or 4)

    rows = measure(
        [case(contender("a", 0.01)), case(contender("b", 0.04), contender("c", 0.01))],
        Settings(rounds=2),
    )
    assert "".join(calls) == "abc" + "abc" + "bca"
    assert rows[0].ratio == rows[1].ratio == 1.0
    assert rows[2].ratio < 1


def test_processor_time_counts_children_and_not_waiting():
    import subprocess
    import sys

    busy = "sum(range(10**7))"
    rows = measure(
        [
            case(
                Contender("child", lambda: subprocess.call([sys.executable, "-c", busy]) or 4),
                Contender("sleep", lambda: time.sleep(0.1) or 4),
            )
        ],
        Settings(rounds=1),
    )
    assert rows[0].cpu_ms > 20
    assert rows[1].cpu_ms < 20 < 100 <= rows[1].ms


def test_stops_early_but_not_before_a_median():
    (row,) = measure([case(Contender("a", lambda: 4))], Settings(rounds=50, seconds=1e-9))
    assert row.rounds == MIN_ROUNDS


class Watched(HostClock):
    def __init__(self):
        self.timed = self.settled = 0

    def time(self, call):
        self.timed += 1
        return super().time(call)

    def settle(self):
        self.settled += 1


def test_the_clock_of_the_case_waits_after_the_check_and_times_every_round():
    clock = Watched()
    measure([case(Contender("a", lambda: 4), clock=clock)], TWICE)
    assert (clock.settled, clock.timed) == (1, 2)


def test_nobody_fits():
    assert measure([case(Contender("a", lambda: 4, skip="no"))], TWICE)[0].status == "skipped"


def test_progress_reaches_its_end():
    told = []
    measure([case(Contender("a", lambda: 4))], TWICE, progress=lambda *step: told.append(step))
    assert [done for _, done, _ in told] == [0, 2, 3, 3]
    assert {total for *_, total in told} == {3}


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("field", ["rounds", "threads", "seconds"])
def test_settings_are_checked(field):
    with pytest.raises(ValueError, match=field):
        Settings(**{field: 0})


def test_forced_backend_is_given_back(monkeypatch):
    from mamba_core.bench.problem import forced

    monkeypatch.setenv("MAMBA_KERNELS_BACKEND", "eager")
    with forced("reference"):
        assert os.environ["MAMBA_KERNELS_BACKEND"] == "reference"
    assert os.environ["MAMBA_KERNELS_BACKEND"] == "eager"
    monkeypatch.delenv("MAMBA_KERNELS_BACKEND")
    with forced("reference"):
        pass
    assert "MAMBA_KERNELS_BACKEND" not in os.environ
