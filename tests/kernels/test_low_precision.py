"""Half-precision inputs: never much worse than plain PyTorch in that dtype, state in float32.

The bound adapts to the call, where a fixed tolerance is either loose or wrong: the same loop run
with every number in the half dtype has an error against float64; ours may have twice that.
"""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from kernel_cases import (
    RETURN_STATE,
    Draw,
    conv_call,
    results,
    rms,
    runners,
    scan_call,
    ssd_call,
    widened,
)

CALLS = {
    "selective_scan": {"plain": {}, "packed": {"lengths": [5, 0, 20]}, "order": {"paths": 2}},
    "ssd": {"plain": {"length": 33}, "packed": {"lengths": [5, 0, 20]}, "order": {"paths": 2}},
    "causal_conv1d": {"plain": {}, "packed": {"lengths": [5, 0, 9]}, "order": {"paths": 2}},
}
MAKE = {"selective_scan": scan_call, "ssd": ssd_call, "causal_conv1d": conv_call}
PARAMETERS = ("A", "D", "delta_bias", "dt_bias", "initial_state", "initial_states")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("mixed", [False, True], ids=["all-half", "float-parameters"])
@pytest.mark.parametrize(
    ("op", "name", "runner"),
    [
        pytest.param(op, name, *p.values, id=f"{op}-{name}-{p.id}", marks=p.marks)
        for op, calls in CALLS.items()
        for name in calls
        for p in runners(op)
    ],
)
def test_error_is_bounded_by_plain_pytorch(op, name, dtype, mixed, runner):
    runner.need(op, dtype)
    call = MAKE[op](Draw(dtype, runner.device), **CALLS[op][name])
    if mixed:
        call |= {n: call[n].float() for n in PARAMETERS if call.get(n) is not None}
    oracle = getattr(kernel_oracles, op)
    where = {"dtype": dtype, "device": runner.device}
    found = results(lambda **a: runner.call(op, **a, **RETURN_STATE[op]), call, **where)
    exact = results(lambda **a: oracle(**a), widened(call), **where)
    with kernel_oracles.computed_in(dtype):
        plain = results(lambda **a: oracle(**a), call, **where)
    for key, want in exact.items():
        assert found[key].isfinite().all(), key
        error, allowed = (rms(have[key].double() - want) for have in (found, plain))
        assert error <= 2 * allowed + 1e-5 * rms(want), f"{key}: {error:.3g}, plain {allowed:.3g}"
    first = next(iter(call))
    assert found["out"].dtype == dtype
    assert found[f"d {first}"].dtype == dtype
    if op != "causal_conv1d":
        assert found["state"].dtype == torch.float32


@pytest.mark.parametrize("op", ["selective_scan", "ssd"])
def test_a_long_memory_survives_half_tokens(op):
    """Steps of 1/8000: a half-precision state would stop to move long before the end."""
    for param in runners(op):
        (runner,) = param.values
        if not runner.can(op, torch.bfloat16):
            continue
        length = 4000
        draw = Draw(torch.bfloat16, runner.device)
        options = {"batch": 1, "length": length, "softplus": False, "bias": False, "gate": False}
        call = MAKE[op](draw, **options, initial=False, n=1, groups=1)
        for tokens in ("u", "x", "B", "C"):
            if tokens in call:
                call[tokens] = torch.ones_like(call[tokens])
        step = "delta" if op == "selective_scan" else "dt"
        call[step] = torch.full_like(call[step], 1 / 8192)
        call["A"] = torch.full_like(call["A"], -1)
        _, last = runner.call(op, **call, **RETURN_STATE[op])
        expected = 1 - torch.tensor(1 / 8192).neg().exp().pow(length)
        torch.testing.assert_close(last, torch.full_like(last, expected.item()), rtol=1e-3, atol=0)


def test_autocast_does_not_narrow_the_state():
    from mamba_kernels import ops

    call = scan_call(Draw(torch.float32), gate=False)
    with torch.autocast("cpu", torch.bfloat16):
        out, last = ops.selective_scan(**call, return_last_state=True)
    plain, plain_last = ops.selective_scan(**call, return_last_state=True)
    assert torch.equal(out, plain)
    assert torch.equal(last, plain_last)
