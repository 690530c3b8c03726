"""The causal convolution against a loop over its equation, on every backend."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import Draw, check_against, conv_call, each_dtype, each_runner

OP = "causal_conv1d"
RUNS = [[3, 3, 3, 4, 4, 3, 3, 7, 8], [0, 0, 0, 0, 0, 0, 0, 0, 0]]
CASES = {
    "plain": {"bias": False, "activation": None, "initial": False},
    "all": {},
    "swish": {"activation": "swish"},
    "no-activation": {"activation": None},
    "zero-start": {"initial": False},
    "width-1": {"width": 1},
    "width-2": {"width": 2},
    "wider-than-long": {"width": 8, "length": 3},
    "order": {"paths": 3},
    "one-path": {"paths": 1},
    "order-per-item": {"paths": 2, "order_per_item": True},
    "tokens-per-path": {"paths": 2, "own_tokens": True},
    "parameters-per-path": {"paths": 3, "own_parameters": True},
    "packed": {"lengths": [5, 0, 1, 20, 2]},
    "packed-empty-ends": {"lengths": [0, 3, 0, 0], "initial": False},
    "packed-all-empty": {"lengths": [0, 0]},
    "packed-order": {"lengths": [6, 1, 0, 5], "paths": 2, "own_parameters": True},
    "packed-width-1": {"lengths": [2, 0, 1], "width": 1},
    "segments": {"seq_idx": RUNS},
    "segments-zero-start": {"seq_idx": RUNS, "initial": False},
}


@each_runner(OP)
@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_equation(name, dtype, runner):
    call = conv_call(Draw(dtype, runner.device), **CASES[name])
    check_against(kernel_oracles.causal_conv1d, OP, call, runner, dtype)


@each_runner(OP)
@pytest.mark.parametrize("through", [("out",), ("state",)], ids=["out", "state"])
@pytest.mark.parametrize("name", ["all", "packed", "tokens-per-path", "segments", "zero-start"])
def test_gradients_of_one_output_alone(name, through, runner):
    call = conv_call(Draw(torch.float32, runner.device), **CASES[name])
    oracle = kernel_oracles.causal_conv1d
    check_against(oracle, OP, call, runner, torch.float32, through=through)


@each_runner(OP)
@pytest.mark.parametrize("length", [1, 7, 63, 64, 65, 129, 151, 372])
def test_lengths(length, runner):
    call = conv_call(Draw(torch.float32, runner.device), channels=3, length=length)
    check_against(kernel_oracles.causal_conv1d, OP, call, runner, torch.float32)


@each_runner(OP)
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("length", [0, 2])
@pytest.mark.parametrize("segments", [False, True])
def test_empty_batch_and_no_tokens(batch, length, segments, runner):
    runner.need(OP, torch.float32)
    call = conv_call(Draw(torch.float32, runner.device), batch=batch, length=length)
    if segments:
        call["seq_idx"] = torch.zeros(batch, length, dtype=torch.int32, device=runner.device)
    leaves = {k: v.requires_grad_() for k, v in call.items() if k in ("x", "weight")}
    out, last = runner.call(OP, **call, return_final_states=True)
    assert out.shape == (batch, 5, length)
    assert last.shape == (batch, 5, 3)
    if length == 0:
        assert torch.equal(last, call["initial_states"])
    grads = torch.autograd.grad(out.sum() + last.sum(), list(leaves.values()))
    for grad, leaf in zip(grads, leaves.values(), strict=True):
        assert grad.shape == leaf.shape
        assert grad.isfinite().all()


OPTIONS = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 3),
        "channels": st.integers(1, 5),
        "length": st.integers(1, 20),
        "width": st.integers(1, 6),
        "paths": st.integers(0, 3),
        "lengths": st.none() | st.lists(st.integers(0, 9), min_size=1, max_size=5),
        "activation": st.sampled_from([None, "silu"]),
        **dict.fromkeys(["own_tokens", "own_parameters", "bias", "initial"], st.booleans()),
    }
)


@each_runner(OP)
@settings(max_examples=25, deadline=None)
@given(options=OPTIONS, seed=st.integers(0, 999))
def test_any_call(runner, options, seed):
    call = conv_call(Draw(torch.float32, runner.device, seed), **options)
    check_against(kernel_oracles.causal_conv1d, OP, call, runner, torch.float32)
