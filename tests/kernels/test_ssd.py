"""SSD against a loop over its equations, on every backend."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_cases import Draw, check_against, each_dtype, each_runner, ssd_call

OP = "ssd"
PLAIN = {"skip": None, "gate": False, "bias": False, "softplus": False, "initial": False}
RUNS = [[3, 3, 3, 4, 4, 3, 3, 7, 8], [0, 0, 0, 0, 0, 0, 0, 0, 0]]
CASES = {
    "plain": PLAIN,
    "all": {},
    "no-gate": {"gate": False},
    "no-skip": {"skip": None},
    "no-bias": {"bias": False},
    "bias-without-softplus": {"softplus": False},
    "skip-per-channel": {"skip": "channel"},
    "zero-start": {"initial": False},
    "limits": {"limit": (0.2, 0.6)},
    "low-limit": {"limit": (0.3, float("inf")), "softplus": False},
    "one-head": {"heads": 1, "groups": 1},
    "group-per-head": {"groups": 6},
    "one-group": {"groups": 1},
    "shared-c": {"groups": 3, "c_groups": 1},
    "shared-b": {"groups": 1, "c_groups": 2},
    "order": {"paths": 3},
    "one-path": {"paths": 1},
    "order-per-item": {"paths": 2, "order_per_item": True},
    "tokens-per-path": {"paths": 2, "own_tokens": True},
    "parameters-per-path": {"paths": 3, "own_parameters": True, "skip": "channel"},
    "packed": {"lengths": [5, 0, 1, 20, 17]},
    "packed-empty-ends": {"lengths": [0, 3, 0, 0], "initial": False},
    "packed-all-empty": {"lengths": [0, 0]},
    "packed-ones": {"lengths": [1, 1, 1, 1]},
    "packed-chunk-edges": {"lengths": [64, 65, 16, 32]},
    "packed-order": {"lengths": [6, 1, 0, 5], "paths": 2},
    "segments": {"seq_idx": RUNS},
    "segments-zero-start": {"seq_idx": RUNS, "initial": False},
}


@each_runner(OP)
@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_equations(name, dtype, runner):
    call = ssd_call(Draw(dtype, runner.device), **CASES[name])
    check_against(kernel_oracles.ssd, OP, call, runner, dtype)


@each_runner(OP)
@pytest.mark.parametrize("through", [("out",), ("state",)], ids=["out", "state"])
@pytest.mark.parametrize("name", ["all", "packed", "tokens-per-path", "segments", "zero-start"])
def test_gradients_of_one_output_alone(name, through, runner):
    call = ssd_call(Draw(torch.float32, runner.device), **CASES[name])
    check_against(kernel_oracles.ssd, OP, call, runner, torch.float32, through=through)


@each_runner(OP)
@pytest.mark.parametrize("length", [1, 7, 63, 64, 65, 97, 113])
def test_lengths(length, runner):
    call = ssd_call(Draw(torch.float32, runner.device), length=length, heads=3, groups=1)
    check_against(kernel_oracles.ssd, OP, call, runner, torch.float32)


@each_runner(OP)
@pytest.mark.parametrize("length", [1000, 1025])
def test_long(length, runner):
    call = ssd_call(Draw(torch.float32, runner.device), batch=1, length=length, heads=2, groups=1)
    check_against(kernel_oracles.ssd, OP, call, runner, torch.float32, with_grad=False)


@each_runner(OP)
@pytest.mark.parametrize(
    ("heads", "p", "n"), [(3, 5, 16), (11, 19, 5), (3, 64, 40), (2, 3, 256), (11, 1, 1)]
)
def test_widths(heads, p, n, runner):
    call = ssd_call(Draw(torch.float32, runner.device), length=19, heads=heads, p=p, n=n, groups=1)
    check_against(kernel_oracles.ssd, OP, call, runner, torch.float32)


@each_runner(OP)
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 2])
@pytest.mark.parametrize("segments", [False, True])
def test_empty_batch_and_no_tokens(batch, length, segments, runner):
    runner.need(OP, torch.float32)
    call = ssd_call(Draw(torch.float32, runner.device), batch=batch, length=length)
    if segments:
        call["seq_idx"] = torch.zeros(batch, length, dtype=torch.int32, device=runner.device)
    leaves = {k: v.requires_grad_() for k, v in call.items() if k in ("x", "A", "initial_states")}
    out, last = runner.call(OP, **call, return_final_states=True)
    assert out.shape == (batch, length, 6, 3)
    assert last.shape == (batch, 6, 3, 5)
    if length == 0:
        assert torch.equal(last, call["initial_states"])
    grads = torch.autograd.grad(out.sum() + last.sum(), list(leaves.values()))
    for grad, leaf in zip(grads, leaves.values(), strict=True):
        assert grad.shape == leaf.shape
        assert grad.isfinite().all()


@each_runner(OP)
def test_chunk_size_is_only_a_hint(runner):
    runner.need(OP, torch.float64)
    call = ssd_call(Draw(torch.float64, runner.device), length=70)
    first = runner.call(OP, **call)
    for chunk in (1, 17, 29, 64, 1000):
        again = runner.call(OP, **{**call, "chunk_size": chunk})
        torch.testing.assert_close(again, first, rtol=1e-12, atol=1e-12)


@each_runner(OP)
def test_strong_decay_over_long_chunks_stays_finite(runner):
    """Differences of summed log decays reach thousands; exp of a positive one would be inf."""
    call = ssd_call(Draw(torch.float32, runner.device), length=65, softplus=False)
    call["A"] = call["A"] * 100
    found = check_against(kernel_oracles.ssd, OP, call, runner, torch.float32)
    assert all(value.isfinite().all() for value in found.values())


OPTIONS = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "length": st.integers(1, 40),
        "heads": st.sampled_from([2, 4]),
        "p": st.integers(1, 4),
        "n": st.integers(1, 6),
        "groups": st.sampled_from([1, 2]),
        "chunk": st.integers(1, 80),
        "paths": st.integers(0, 3),
        "lengths": st.none() | st.lists(st.integers(0, 40), min_size=1, max_size=5),
        "skip": st.sampled_from([None, "head", "channel"]),
        "limit": st.sampled_from([(0.0, float("inf")), (0.1, 0.7)]),
        **dict.fromkeys(
            ["own_tokens", "own_parameters", "gate", "bias", "softplus", "initial"], st.booleans()
        ),
    }
)


@each_runner(OP)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(options=OPTIONS, seed=st.integers(0, 999))
def test_any_call(runner, options, seed):
    call = ssd_call(Draw(torch.float32, runner.device, seed), **options)
    check_against(kernel_oracles.ssd, OP, call, runner, torch.float32)
