"""The gated norm against its equation, on every backend."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from kernel_cases import Draw, check_against, each_dtype, each_runner

OP = "rms_norm_gated"


def norm_call(draw, shape=(2, 7, 6), *, gate=True, bias=True, group_size=None, before=False):
    channels = shape[-1]
    return {
        "x": draw.normal(*shape),
        "weight": draw.normal(channels),
        "bias": draw.normal(channels) if bias else None,
        "z": draw.normal(*shape) if gate else None,
        "eps": 1e-5,
        "group_size": group_size,
        "norm_before_gate": before,
    }


@each_runner(OP)
@each_dtype
@pytest.mark.parametrize("before", [False, True], ids=["gate-first", "norm-first"])
@pytest.mark.parametrize("group_size", [None, 1, 2, 6])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_equation(before, group_size, gate, bias, dtype, runner):
    draw = Draw(dtype, runner.device)
    call = norm_call(draw, gate=gate, bias=bias, group_size=group_size, before=before)
    check_against(kernel_oracles.rms_norm_gated, OP, call, runner, dtype)


@each_runner(OP)
@pytest.mark.parametrize("shape", [(6,), (1, 1), (3, 1), (2, 3, 4, 19), (5, 130)])
@pytest.mark.parametrize("before", [False, True])
def test_shapes(shape, before, runner):
    call = norm_call(Draw(torch.float32, runner.device), shape, before=before)
    check_against(kernel_oracles.rms_norm_gated, OP, call, runner, torch.float32)


@each_runner(OP)
@pytest.mark.parametrize("shape", [(0, 6), (2, 0, 6)])
def test_no_rows(shape, runner):
    runner.need(OP, torch.float32)
    call = norm_call(Draw(torch.float32, runner.device), shape)
    x, weight = call["x"].requires_grad_(), call["weight"].requires_grad_()
    out = runner.call(OP, **call)
    assert out.shape == shape
    dx, dweight = torch.autograd.grad(out.sum(), [x, weight])
    assert dx.shape == shape
    assert torch.equal(dweight, torch.zeros_like(dweight))


@each_runner(OP)
def test_a_zero_row_is_zero_with_a_finite_gradient(runner):
    runner.need(OP, torch.float32)
    x = torch.zeros(2, 4, device=runner.device, requires_grad=True)
    out = runner.call(OP, x, torch.ones(4, device=runner.device))
    assert torch.equal(out, torch.zeros_like(out))
    (dx,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(dx, torch.full_like(dx, 1e-5**-0.5))
