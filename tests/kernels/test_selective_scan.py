"""The selective scan against a loop over its equations, on every backend."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import Draw, Runner, check_against, each_dtype, each_runner, scan_call

from mamba_kernels.backends.eager import _scan_core

OP = "selective_scan"
PLAIN = {"skip": False, "gate": False, "bias": False, "softplus": False, "initial": False}
CASES = {
    "plain": PLAIN,
    "all": {},
    "no-gate": {"gate": False},
    "no-skip": {"skip": False},
    "no-bias": {"bias": False},
    "bias-without-softplus": {"softplus": False},
    "zero-start": {"initial": False},
    "one-channel": {"channels": 1},
    "one-state": {"n": 1},
    "grouped": {"b": "grouped", "c": "grouped"},
    "grouped-b": {"b": "grouped"},
    "grouped-c": {"c": "grouped", "groups": 3},
    "one-group": {"b": "grouped", "groups": 1, "c": "grouped"},
    "group-per-channel": {"b": "grouped", "c": "grouped", "groups": 6},
    "constant": {"b": "constant", "c": "constant"},
    "constant-b": {"b": "constant"},
    "constant-c": {"c": "constant", "b": "grouped"},
    "order": {"paths": 3},
    "one-path": {"paths": 1},
    "order-per-item": {"paths": 2, "order_per_item": True},
    "tokens-per-path": {"paths": 2, "own_tokens": True},
    "parameters-per-path": {"paths": 3, "own_parameters": True},
    "order-grouped": {"paths": 2, "b": "grouped", "c": "grouped", "own_tokens": True},
    "order-constant": {"paths": 2, "b": "constant"},
    "packed": {"lengths": [5, 0, 1, 20, 17]},
    "packed-empty-ends": {"lengths": [0, 3, 0, 0], "initial": False},
    "packed-all-empty": {"lengths": [0, 0]},
    "packed-ones": {"lengths": [1, 1, 1, 1]},
    "packed-block-edges": {"lengths": [16, 16, 15, 2]},
    "packed-order": {"lengths": [6, 1, 0, 5], "paths": 2},
    "packed-grouped": {"lengths": [3, 8], "b": "grouped", "c": "grouped"},
    "packed-constant": {"lengths": [3, 0, 2], "b": "constant"},
    "complex": {"complex_": True},
    "complex-plain": {"complex_": True, **PLAIN},
    "complex-grouped": {"complex_": True, "b": "grouped", "c": "grouped"},
    "complex-constant": {"complex_": True, "b": "constant", "c": "constant"},
    "complex-order": {"complex_": True, "paths": 2, "own_parameters": True},
    "complex-packed": {"complex_": True, "lengths": [4, 0, 1, 6]},
}


@each_runner(OP)
@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_equations(name, dtype, runner):
    call = scan_call(Draw(dtype, runner.device), **CASES[name])
    check_against(kernel_oracles.selective_scan, OP, call, runner, dtype)


@each_runner(OP)
@pytest.mark.parametrize("through", [("out",), ("state",)], ids=["out", "state"])
@pytest.mark.parametrize("name", ["all", "packed", "order-grouped", "complex-packed", "zero-start"])
def test_gradients_of_one_output_alone(name, through, runner):
    call = scan_call(Draw(torch.float32, runner.device), **CASES[name])
    oracle = kernel_oracles.selective_scan
    check_against(oracle, OP, call, runner, torch.float32, through=through)


@each_runner(OP)
@pytest.mark.parametrize("length", [1, 7, 15, 16, 17, 63, 64, 65, 97, 113])
def test_lengths(length, runner):
    call = scan_call(Draw(torch.float32, runner.device), channels=3, length=length, n=5, groups=1)
    check_against(kernel_oracles.selective_scan, OP, call, runner, torch.float32)


@each_runner(OP)
@pytest.mark.parametrize("length", [1000, 1025])
def test_long(length, runner):
    draw = Draw(torch.float32, runner.device)
    call = scan_call(draw, batch=1, channels=3, length=length, n=4)
    oracle = kernel_oracles.selective_scan
    check_against(oracle, OP, call, runner, torch.float32, with_grad=False)


@each_runner(OP)
@pytest.mark.parametrize(("channels", "n"), [(3, 40), (11, 16), (65, 3), (2, 256), (130, 1)])
def test_widths(channels, n, runner):
    call = scan_call(Draw(torch.float32, runner.device), channels=channels, length=19, n=n)
    check_against(kernel_oracles.selective_scan, OP, call, runner, torch.float32)


@pytest.mark.parametrize("space", [0, 1000])
@pytest.mark.parametrize("name", ["all", "packed", "order-grouped", "zero-start", "no-gate"])
def test_pieces_that_fit_the_cache(name, space, monkeypatch):
    """Large batches are worked on a few at a time; here one, or two, at a time."""
    monkeypatch.setattr(_scan_core, "WORKSPACE", space)
    call = scan_call(Draw(torch.float64), **{"batch": 3, **CASES[name]})
    runner = Runner("eager", "cpu")
    check_against(kernel_oracles.selective_scan, OP, call, runner, torch.float64)


@each_runner(OP)
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 2])
def test_empty_batch_and_no_tokens(batch, length, runner):
    call = scan_call(Draw(torch.float32, runner.device), batch=batch, length=length)
    runner.need(OP, torch.float32)
    leaves = {k: v.requires_grad_() for k, v in call.items() if k in ("u", "A", "initial_state")}
    out, last = runner.call(OP, **call, return_last_state=True)
    assert out.shape == (batch, 6, length)
    assert last.shape == (batch, 6, 5)
    if length == 0:
        assert torch.equal(last, call["initial_state"])
    grads = torch.autograd.grad(out.sum() + last.sum(), list(leaves.values()))
    for grad, leaf in zip(grads, leaves.values(), strict=True):
        assert grad.shape == leaf.shape
        assert grad.isfinite().all()


@each_runner(OP)
def test_steps_far_below_zero_keep_their_precision(runner):
    """softplus of a large negative number is exp of it, not 0: long memories live there."""
    call = scan_call(Draw(torch.float32, runner.device), length=4)
    call["delta"] = call["delta"] - 12
    check_against(kernel_oracles.selective_scan, OP, call, runner, torch.float32)


OPTIONS = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "channels": st.sampled_from([2, 4, 6]),
        "length": st.integers(1, 40),
        "n": st.integers(1, 6),
        "b": st.sampled_from(["time", "grouped"]),
        "c": st.sampled_from(["time", "grouped"]),
        "paths": st.integers(0, 3),
        "lengths": st.none() | st.lists(st.integers(0, 20), min_size=1, max_size=5),
        **dict.fromkeys(
            ["own_tokens", "own_parameters", "skip", "gate", "bias", "softplus", "initial"],
            st.booleans(),
        ),
    }
)


@each_runner(OP)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(options=OPTIONS, seed=st.integers(0, 999))
def test_any_call(runner, options, seed):
    call = scan_call(Draw(torch.float32, runner.device, seed), **options)
    check_against(kernel_oracles.selective_scan, OP, call, runner, torch.float32)
