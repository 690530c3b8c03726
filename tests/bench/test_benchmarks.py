"""The benchmarks themselves, at tiny sizes; their judges above all. Speed is never asserted."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache

import pytest
import torch

from mamba_core import bench
from mamba_core.bench import layers, machine_speed, one_token, scan, ssd
from mamba_core.bench.measure import Contender, Row, Settings, measure
from mamba_core.bench.memory import extra_bytes
from mamba_core.bench.problem import Problem
from mamba_core.bench.report import Report
from mamba_core.registry import ConfigError
from mamba_kernels import ops

ONCE = Settings(rounds=1)
CPU = torch.device("cpu")
TINY = {
    "kernels": {
        "batch": 1,
        "channels": 20,
        "length": 7,
        "state": 3,
        "ssd_length": 7,
        "heads": 2,
        "headdim": 4,
        "ssd_state": 5,
        "tokens": 3,
        "linear_lengths": (4, 5, 6),
    },
    "scan": {"batch": 2, "channels": 5, "length": 7, "state": 3, "curve_lengths": (4, 5, 6)},
    "ssd": {"batch": 2, "length": 9, "heads": 3, "headdim": 4, "state": 5},
    "orders": {"side": 9, "grid": 3, "channels": 2, "state": 3},
    "layers": {
        "d_model": 64,
        "lengths": (4, 5, 6),
        "token_d_model": 64,
        "token_batches": (1, 2),
    },
    "startup": {},
}
SCAN = {"op": "selective_scan", "function": ops.selective_scan, "options": {"delta_softplus": True}}


@pytest.fixture(autouse=True)
def small_arrays(monkeypatch):
    """The machine's rates at sizes that say nothing, but are quick."""
    monkeypatch.setattr(machine_speed, "_TRIAD", 1 << 12)
    monkeypatch.setattr(machine_speed, "_REPEATS", 2)


@cache
def report_of(name):
    return bench.run(name, ONCE, **TINY[name])


def scan_problem(backward=True, B=2, D=5, L=7):
    return Problem(
        **SCAN,
        inputs=scan.inputs(B, D, L, 3),
        channels={"u": 1, "delta": 1, "A": 0, "D": 0, "z": 1, "delta_bias": 0},
        out_channels=1,
        cotangent=torch.randn(B, D, L),
        backward=backward,
        bound=1e-5,
    )


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_runs(name):
    report = report_of(name)
    timed = [row for row in report.rows if row.status == "ok"]
    assert timed
    assert not [row for row in report.rows if row.status in ("wrong", "failed")]
    assert all(row.ms > 0 and row.rounds == 1 and row.ratio > 0 for row in timed)
    assert all(row.note for row in report.rows if row.status == "skipped")
    assert report.machine["threads"] == 1
    assert json.loads(json.dumps(report.as_dict()))["rows"][0]["case"] == report.rows[0].case


def test_kernels_adds_facts_about_the_machine_and_the_scans():
    facts = report_of("kernels").facts
    assert facts["triad GB/s"] > 0
    assert facts["torch.exp Gexp/s"] > 0
    for case in ("selective_scan forward", "ssd forward", "one token B=1", "one token B=8"):
        names = [name for name in facts if name.startswith(f"{case},") and "of " in name]
        assert len(names) == 2
        assert all(facts[name] > 0 for name in names)
    assert report_of("kernels").as_dict()["facts"] == facts


def test_one_token_rejects_what_is_wrong_and_what_is_not_a_number():
    case = one_token.case({"B": 1, "D": 4, "N": 3, "tokens": 3}, (), torch.float32, CPU)
    ready = next(contender for contender in case.contenders if contender.skip is None)
    with ready.around():
        out = ready.call()
    assert out.shape == (3, 1, 4)
    assert case.judge(out).complaint is None
    assert "off by" in case.judge(out * 1.001).complaint
    assert case.judge(out * float("nan")).complaint is not None


def test_work_is_what_must_move():
    """One token of one sequence: its state twice, A once, x, dt, z and out, B and C."""
    work = machine_speed.step_work(B=1, D=3, N=2, tokens=1)
    assert work.bytes == 4 * (2 * 6 + 6 + 4 * 3 + 2 * 2)
    assert machine_speed.scan_work(B=2, D=3, L=5, N=4).exponentials == 2 * 3 * 5 * 6


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux only")
def test_memory_counts_what_a_call_takes():
    size = 64 << 20
    extra = extra_bytes(lambda: torch.ones(size // 4))
    assert 0.9 * size <= extra <= 1.2 * size


@pytest.mark.parametrize("name", ["scan", "ssd", "kernels"])
def test_transformers_takes_part(name):
    pytest.importorskip("transformers")
    rows = report_of(name).rows
    peers = [row for row in rows if row.contender.startswith("transformers")]
    assert peers
    assert all(row.error < row.bound for row in peers)


def test_exact_is_the_op_in_float64():
    problem = scan_problem()
    leaves = {name: x.double().requires_grad_() for name, x in problem.inputs.items()}
    out = ops.selective_scan(**leaves, delta_softplus=True)
    grads = torch.autograd.grad(out, tuple(leaves.values()), problem.cotangent.double())
    torch.testing.assert_close(problem.exact["out"], out.detach(), rtol=1e-12, atol=1e-12)
    for name, grad in zip(leaves, grads, strict=True):
        torch.testing.assert_close(
            problem.exact[f"gradient of {name}"], grad, rtol=1e-10, atol=1e-10
        )


def test_exact_of_many_channels_is_put_together_rightly():
    """More channels than slices, and not a multiple of them."""
    problem = scan_problem(D=35)
    with torch.no_grad():
        whole = ops.selective_scan(
            **{name: x.double() for name, x in problem.inputs.items()}, delta_softplus=True
        )
    torch.testing.assert_close(problem.exact["out"], whole, rtol=1e-12, atol=1e-12)


def test_layers_say_what_the_weights_cost_and_how_each_mixer_grows():
    report = report_of("layers")
    assert {growth.contender for growth in report.growth} == {"mamba1", "mamba2", "attention"}
    facts = {name for name in report.facts if name.endswith("time / reading the weights")}
    assert len(facts) == 4
    assert all(report.facts[name] > 0 for name in facts)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_layers_reject_the_wrong_and_gradients_that_are_not_finite(dtype):
    config = layers.Config(**TINY["layers"] | {"lengths": (70,)}, dtype=dtype)
    for case in layers.cases(config, (), CPU):
        result = case.contenders[0].call()
        assert case.judge(result).complaint is None
        assert "off by" in case.judge(replace(result, out=result.out + 1)).complaint
        lost = (torch.full((1,), float("nan")),)
        assert "gradient" in case.judge(replace(result, gradients=lost)).complaint


@pytest.mark.parametrize("leave_out", ["D", "z", "delta_bias"])
def test_the_gate_rejects_a_forgotten_input(leave_out):
    problem = scan_problem()

    def forgetful(**given):
        given[leave_out] = given[leave_out] * 0  # stays in the graph
        return ops.selective_scan(**given, delta_softplus=True)

    verdict = problem.judge(problem.solve(forgetful))
    assert verdict.complaint is not None


def test_the_gate_rejects_a_wrong_gradient_of_a_right_output():
    problem = scan_problem()
    results = dict(problem.solve(ops.selective_scan, delta_softplus=True))
    assert problem.judge(results).complaint is None
    results["gradient of A"] = results["gradient of A"] * 1.001
    assert "gradient of A is off by" in problem.judge(results).complaint


def test_the_gate_rejects_what_is_not_finite_or_missing_or_misshapen():
    problem = scan_problem(backward=False)
    out = problem.solve(ops.selective_scan, delta_softplus=True)["out"]
    spoilt = out.clone()
    spoilt[0, 0, 0] = float("nan")
    assert problem.judge({"out": spoilt}).complaint == "out: not finite"
    assert problem.judge({}).complaint == "out: shape None, not (2, 5, 7)"
    assert "shape (2, 5, 6)" in problem.judge({"out": out[..., 1:]}).complaint


def test_a_wrong_peer_is_reported_and_not_timed(monkeypatch):
    calls = []

    def wrong(problem):
        def call():
            calls.append(1)
            return {"out": torch.zeros(2, 5, 7)}

        return [Contender("wrong", call)]

    monkeypatch.setattr(scan, "PEERS", {"wrong": wrong})
    config = scan.Config(**TINY["scan"] | {"curve_lengths": ()})
    first = next(iter(scan.cases(config, ["wrong"], CPU)))
    row = measure([first], ONCE)[-1]
    assert (row.contender, row.status, row.ms) == ("wrong", "wrong", None)
    assert calls == [1]


def test_long_backward_of_transformers_is_skipped_with_its_reason():
    pytest.importorskip("transformers")
    from mamba_core.bench.transformers_scans import selective_scan

    problem = scan_problem()
    long = replace(
        problem, inputs={**problem.inputs, "u": torch.empty(4, 1, 1).expand(4, 64, 1 << 13)}
    )
    assert "quadratic" in selective_scan(long)[0].skip
    assert selective_scan(replace(long, backward=False))[0].skip is None
    assert selective_scan(problem)[0].skip is None


def test_every_backend_but_the_judge_takes_part():
    rows = bench.run("ssd", ONCE, against=(), **TINY["ssd"]).rows
    names = [str(backend["name"]) for backend in ops.backends()]
    assert [row.contender for row in rows if row.case == "forward"] == [
        name for name in names if name != "reference"
    ]


def test_startup_rejects_a_process_that_fails(monkeypatch):
    from mamba_core.bench.startup import _process, judge

    verdict = judge(_process("x", ["python3", "-c", "raise SystemExit('no')"]).call())
    assert verdict.complaint == "exit code 1: no"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"against": ("transfomers",)}, "Did you mean 'transformers'"),
        ({"lenght": 3}, "scan has no field 'lenght'. Did you mean 'length'"),
        ({"length": 0}, "scan.length = 0"),
    ],
)
def test_mistakes_are_answered(more, message):
    with pytest.raises((ValueError, ConfigError), match=message):
        bench.run("scan", ONCE, **more)


def curve(contender, times):
    return [
        Row(case="c", size={"L": n}, contender=contender, status="ok", ms_min=ms, cpu_ms=cpu)
        for n, (ms, cpu) in times.items()
    ]


def test_growth_is_the_slope():
    rows = [
        *curve("linear", {10: (1.0, 2.0), 20: (2.0, 4.0), 40: (4.0, 8.0)}),
        *curve("mixed", {10: (1.0, 5.0), 20: (4.0, 10.0), 40: (16.0, 20.0)}),
        *curve("two points", {10: (1.0, 1.0), 20: (4.0, 4.0)}),
    ]
    report = Report(benchmark="x", machine={}, settings=ONCE, config=ssd.Config(), rows=rows)
    found = {growth.contender: growth for growth in report.growth}
    assert set(found) == {"linear", "mixed"}
    assert found["linear"].exponent == pytest.approx(1)
    assert found["linear"].cpu_exponent == pytest.approx(1)
    assert found["mixed"].exponent == pytest.approx(2)
    assert found["mixed"].cpu_exponent == pytest.approx(1)
    assert found["mixed"].lengths == (10, 20, 40)


def test_report_is_written_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    report = report_of("scan")
    report.write(tmp_path / "deep/scan.json")
    assert json.loads((tmp_path / "deep/scan.json").read_text()) == json.loads(
        json.dumps(report.as_dict())
    )
    report.plot(tmp_path / "pictures/scan.svg")
    drawn = (tmp_path / "pictures/scan.svg").read_text()
    assert drawn.startswith("<?xml")
