"""Every op, built for every instruction set, against float64: values, states, all gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from native_cases import CASES, make
from native_comparing import assert_as_exact_as_torch, distance, run

from mamba_kernels import ops

_ALL = [
    pytest.param(op, sizes, id=f"{op}-{number}")
    for op, cases in CASES.items()
    for number, sizes in enumerate(cases)
]


@pytest.mark.parametrize(("op", "sizes"), _ALL)
def test_float32(isa, op, sizes):
    assert_as_exact_as_torch(op, make(op, **sizes))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("op", "sizes"), _ALL)
def test_half(native, op, sizes, dtype):
    assert_as_exact_as_torch(op, make(op, **sizes), dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("op", CASES)
def test_half_on_each_instruction_set(isa, op, dtype):
    assert_as_exact_as_torch(op, make(op), dtype)


@pytest.mark.parametrize("op", CASES)
def test_threads_add_in_one_order(native, op):
    """Bit for bit: how a call is cut does not depend on who does the pieces."""
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(run(op, "native", make(op, **CASES[op][4]), torch.float32))
    finally:
        torch.set_num_threads(before)
    for name, other in itertools.product(results[0], results[1:]):
        assert torch.equal(results[0][name], other[name]), name


@pytest.mark.parametrize("length", [1000, 4000])
def test_long_memory(native, length):
    """Rates near zero: rounding errors of a whole sequence add up, and do so most in the sums over
    it, which cancel here."""
    given = make("selective_scan", batch=1, length=length, channels=3)
    given["A"] = given["A"] * 1e-4
    assert_as_exact_as_torch("selective_scan", given, floor=4e-6)
    given = make("ssd", batch=1, length=length, heads=2)
    given["A"] = given["A"] * 1e-4
    assert_as_exact_as_torch("ssd", given, floor=4e-6)


@pytest.mark.parametrize(("op", "rates"), [("selective_scan", "A"), ("ssd", "A")])
def test_steps_of_size_zero_change_nothing(isa, op, rates):
    """exp(0) is exactly 1 in every build, or a state would drift."""
    given = make(op, batch=1, length=200)
    step = "delta" if op == "selective_scan" else "dt"
    bias = "delta_bias" if op == "selective_scan" else "dt_bias"
    given[step] = torch.full_like(given[step], -torch.inf)
    given[bias] = torch.zeros_like(given[bias])
    name = "initial_state" if op == "selective_scan" else "initial_states"
    last = run(op, "native", given, torch.float32)["last"]
    assert torch.equal(last, given[name].float())


def test_decay_of_large_steps(isa):
    """exp far below the smallest float is 0, not a wrapped exponent."""
    given = make("selective_scan", batch=1, channels=3, length=40)
    given["delta"] = given["delta"] + 300
    found = run("selective_scan", "native", given, torch.float32)
    expected = run("selective_scan", "reference", given, torch.float64)
    assert all(torch.isfinite(value).all() for value in found.values())
    assert distance(found["out"], expected["out"]) < 1e-6


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n", [5, 16])
@pytest.mark.parametrize(("channels", "groups"), [((37,), 1), ((3, 19), 3)])
def test_several_tokens_are_as_many_single_ones(isa, channels, groups, n, kind):
    """Bit for bit: values of type ``kind``, a state in float32, and by index."""
    torch.manual_seed(0)
    count = 6
    pool = torch.randn(4, *channels, n)
    x, dt, z = torch.randn(3, 2, *channels, count).to(kind)
    B, C = torch.randn(2, 2, groups, n, count).to(kind)
    A, D = -torch.rand(*channels, n), torch.randn(*channels)
    rows, single = torch.tensor([3, 1]), pool.clone()
    options = {"D": D, "dt_bias": D, "dt_softplus": True, "state_batch_indices": rows}
    steps = [
        ops.selective_state_update(
            single, x[..., t], dt[..., t], A, B[..., t], C[..., t], z=z[..., t], **options
        )
        for t in range(count)
    ]
    out = ops.selective_state_update(pool, x, dt, A, B, C, z=z, **options)
    assert torch.equal(out, torch.stack(steps, -1))
    assert torch.equal(pool, single)
