"""The decoding updates against their equations, and against the scans they continue."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from kernel_cases import Draw, assert_near, conv_call, each_dtype, each_runner, scan_call, ssd_call

STATE, CONV = "selective_state_update", "causal_conv1d_update"


def state_call(draw, batch=3, channels=(6,), n=5, *, groups=None, skip=True, gate=True, bias=True,
               softplus=True):  # fmt: skip
    group = () if groups is None else (groups,)
    shape = (batch, *channels)
    return {
        "state": draw.normal(batch, *channels, n),
        "x": draw.normal(*shape),
        "dt": draw.normal(*shape, shift=-1) if softplus else draw.between(0.02, 0.8, *shape),
        "A": draw.between(-3, -0.3, *channels, n),
        "B": draw.normal(batch, *group, n),
        "C": draw.normal(batch, *group, n),
        "D": draw.normal(*channels) if skip else None,
        "z": draw.normal(*shape) if gate else None,
        "dt_bias": draw.between(-0.01, 0.4, *channels) if bias else None,
        "dt_softplus": softplus,
    }


CASES = {
    "plain": {"skip": False, "gate": False, "bias": False, "softplus": False},
    "all": {},
    "grouped": {"groups": 2},
    "group-per-channel": {"groups": 6},
    "heads": {"channels": (4, 3)},
    "heads-grouped": {"channels": (4, 3), "groups": 2},
    "one-of-each": {"batch": 1, "channels": (1,), "n": 1},
    "empty-batch": {"batch": 0},
    "wide": {"channels": (11,), "n": 256},
}


@each_runner(STATE)
@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_state_update(name, dtype, runner):
    runner.need(STATE, dtype)
    call = state_call(Draw(dtype, runner.device), **CASES[name])
    out, state = kernel_oracles.selective_state_update(**call)
    storage = call["state"].data_ptr()
    found = runner.call(STATE, **call)
    assert found.dtype == dtype
    assert call["state"].data_ptr() == storage
    expected = {"out": out, "state": state}
    assert_near({"out": found, "state": call["state"]}, expected, dtype)


@each_runner(STATE)
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("channels", [(6,), (4, 3)])
def test_only_the_indexed_rows_move(channels, index_dtype, runner):
    runner.need(STATE, torch.float32)
    draw = Draw(torch.float32, runner.device)
    call, pool = state_call(draw, channels=channels), draw.normal(7, *channels, 5)
    rows = torch.tensor([5, 0, 3], device=runner.device)
    out, state = kernel_oracles.selective_state_update(**{**call, "state": pool[rows]})
    before = pool.clone()
    call |= {"state": pool, "state_batch_indices": rows.to(index_dtype)}
    found = runner.call(STATE, **call)
    assert_near({"out": found, "state": pool[rows]}, {"out": out, "state": state}, torch.float32)
    others = torch.tensor([1, 2, 4, 6], device=runner.device)
    assert torch.equal(pool[others], before[others])


@each_runner(STATE)
@pytest.mark.parametrize("groups", [None, 2])
def test_strided_state_and_inputs(groups, runner):
    runner.need(STATE, torch.float32)
    call = state_call(Draw(torch.float32, runner.device), channels=(4, 3), groups=groups)
    out, state = kernel_oracles.selective_state_update(**call)
    whole = torch.full((5, 4, 2, 3, 3), float("nan"), device=runner.device)  # (N, H, 2, B, P)
    view = whole[:, :, 1].permute(2, 1, 3, 0)
    view.copy_(call["state"])
    call["state"] = view
    call["x"] = call["x"].transpose(0, 1).contiguous().transpose(0, 1)
    call["dt"] = call["dt"][:, :, :1].expand(-1, -1, 3)
    out, state = kernel_oracles.selective_state_update(**call)
    found = runner.call(STATE, **call)
    assert_near({"out": found, "state": view}, {"out": out, "state": state}, torch.float32)
    assert whole[:, :, 0].isnan().all()


@each_runner(STATE)
def test_steps_are_the_scan(runner):
    runner.need(STATE, torch.float32)
    draw = Draw(torch.float32, runner.device)
    scan = scan_call(draw, b="grouped", c="grouped", length=6)
    out, last = kernel_oracles.selective_scan(**scan)
    state, steps = scan["initial_state"].clone(), []
    for t in range(6):
        tokens = {k: scan[name][..., t] for k, name in (("x", "u"), ("dt", "delta"), ("z", "z"))}
        tokens |= {k: scan[k][..., t] for k in "BC"} | {k: scan[k] for k in "AD"}
        steps.append(
            runner.call(STATE, state, **tokens, dt_bias=scan["delta_bias"], dt_softplus=True)
        )
    found = {"out": torch.stack(steps, -1), "state": state}
    assert_near(found, {"out": out, "state": last}, torch.float32)


@each_runner(STATE)
def test_steps_are_ssd(runner):
    runner.need(STATE, torch.float32)
    call = ssd_call(Draw(torch.float32, runner.device), length=6, heads=4, p=3)
    out, last = kernel_oracles.ssd(**call)
    wide = (4, 3)
    state, steps = call["initial_states"].clone(), []
    for t in range(6):
        y = runner.call(
            STATE, state, call["x"][:, t], call["dt"][:, t, :, None].expand(-1, *wide),
            call["A"][:, None, None].expand(*wide, 5), call["B"][:, t], call["C"][:, t],
            D=call["D"][:, None].expand(*wide), z=call["z"][:, t],
            dt_bias=call["dt_bias"][:, None].expand(*wide), dt_softplus=True,
        )  # fmt: skip
        steps.append(y)
    found = {"out": torch.stack(steps, 1), "state": state}
    assert_near(found, {"out": out, "state": last}, torch.float32)


@each_runner(STATE)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_tokens_with_a_float_state(dtype, runner):
    """The state stays float32; only the output is rounded."""
    runner.need(STATE, dtype)
    call = state_call(Draw(dtype, runner.device))
    for name in ("state", "A", "D", "dt_bias"):
        call[name] = call[name].float()
    out, state = kernel_oracles.selective_state_update(**call)
    found = runner.call(STATE, **call)
    assert found.dtype == dtype
    assert_near({"state": call["state"]}, {"state": state}, torch.float32)
    torch.testing.assert_close(found.double(), out, rtol=2**-8, atol=1e-6)


@each_runner(STATE)
def test_a_half_state_is_rounded_once(runner):
    runner.need(STATE, torch.bfloat16)
    call = state_call(Draw(torch.bfloat16, runner.device))
    out, state = kernel_oracles.selective_state_update(**call)
    found = runner.call(STATE, **call)
    torch.testing.assert_close(found.double(), out, rtol=2**-8, atol=1e-6)
    torch.testing.assert_close(call["state"].double(), state, rtol=2**-8, atol=1e-6)


@each_runner(CONV)
@each_dtype
@pytest.mark.parametrize("tokens", [None, 0, 1, 2, 9])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("spare", [0, 1, 3])
def test_conv_update(tokens, width, spare, dtype, runner):
    runner.need(CONV, dtype)
    draw = Draw(dtype, runner.device)
    call = {
        "x": draw.normal(*((2, 5) if tokens is None else (2, 5, tokens))),
        "conv_state": draw.normal(2, 5, width - 1 + spare),
        "weight": draw.normal(5, width),
        "bias": draw.normal(5) if spare else None,
        "activation": "silu" if width > 1 else None,
    }
    out, state = kernel_oracles.causal_conv1d_update(**call)
    found = runner.call(CONV, **call)
    assert found.dtype == dtype
    expected = {"out": out, "state": state}
    assert_near({"out": found, "state": call["conv_state"]}, expected, dtype)


@each_runner(CONV)
@pytest.mark.parametrize("parts", [[1, 1, 1, 1, 1, 1, 1], [3, 4], [2, 5], [7]])
def test_any_split_into_updates_is_the_convolution(parts, runner):
    runner.need(CONV, torch.float32)
    call = conv_call(Draw(torch.float32, runner.device), length=7)
    out, last = kernel_oracles.causal_conv1d(**call)
    state = call["initial_states"].clone()
    weights = {k: call[k] for k in ("weight", "bias", "activation")}
    pieces = [runner.call(CONV, x, state, **weights) for x in call["x"].split(parts, -1)]
    found = {"out": torch.cat(pieces, -1), "state": state}
    assert_near(found, {"out": out, "state": last}, torch.float32)


@each_runner(CONV)
def test_strided_conv_state(runner):
    runner.need(CONV, torch.float32)
    draw = Draw(torch.float32, runner.device)
    x, weight = draw.normal(2, 5), draw.normal(5, 4)
    state = draw.normal(3, 2, 5).permute(1, 2, 0)  # channel-last
    out, after = kernel_oracles.causal_conv1d_update(x, state.clone(), weight)
    found = runner.call(CONV, x, state, weight)
    assert_near({"out": found, "state": state}, {"out": out, "state": after}, torch.float32)


@pytest.mark.parametrize("wanted", ["x", "state"])
def test_updates_have_no_gradient_and_name_the_op_that_has(wanted):
    from mamba_kernels import ops

    call = state_call(Draw(torch.float32))
    call[wanted] = call[wanted].requires_grad_() * 1
    with pytest.raises(RuntimeError, match=r"in place and has no gradient.*selective_scan or ssd"):
        ops.selective_state_update(**call).sum().backward()
    x = torch.randn(2, 5, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"in place and has no gradient.*causal_conv1d"):
        ops.causal_conv1d_update(x, torch.zeros(2, 5, 3), torch.randn(5, 4)).sum().backward()
