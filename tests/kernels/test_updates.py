"""The decoding updates against their equations, and against the scans they continue."""

from __future__ import annotations

import kernel_oracles
import pytest
import torch
from kernel_cases import Draw, assert_near, conv_call, each_dtype, each_runner, scan_call, ssd_call

STATE, CONV = "selective_state_update", "causal_conv1d_update"


def state_call(draw, batch=3, channels=(6,), n=5, *, tokens=None, groups=None, skip=True, gate=True,
               bias=True, softplus=True):  # fmt: skip
    """Arguments of ``selective_state_update``; ``tokens`` is None for one without a dimension."""
    group = () if groups is None else (groups,)
    time = () if tokens is None else (tokens,)
    shape = (batch, *channels, *time)
    return {
        "state": draw.normal(batch, *channels, n),
        "x": draw.normal(*shape),
        "dt": draw.normal(*shape, shift=-1) if softplus else draw.between(0.02, 0.8, *shape),
        "A": draw.between(-3, -0.3, *channels, n),
        "B": draw.normal(batch, *group, n, *time),
        "C": draw.normal(batch, *group, n, *time),
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


ROWS, OTHERS = [5, 0, 3], [1, 2, 4, 6]


def pool_of(state, device):
    """Seven rows of states: those of ``state`` in :data:`ROWS`, NaN in the others; and ROWS."""
    rows = torch.tensor(ROWS, device=device)
    pool = state.new_full((7, *state.shape[1:]), torch.nan)
    pool[rows] = state
    return pool, rows


@each_runner(STATE)
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [(6,), (4, 3)])
@pytest.mark.parametrize("tokens", [None, 3])
def test_only_the_indexed_rows_move(tokens, channels, dtype, index_dtype, runner):
    """The others are NaN, and stay it; none of it comes out."""
    runner.need(STATE, dtype)
    call = state_call(Draw(dtype, runner.device), channels=channels, tokens=tokens)
    out, state = kernel_oracles.selective_state_update(**call)
    pool, rows = pool_of(call["state"], runner.device)
    call |= {"state": pool, "state_batch_indices": rows.to(index_dtype)}
    found = runner.call(STATE, **call)
    if dtype == torch.bfloat16:
        torch.testing.assert_close(found.double(), out, rtol=2**-8, atol=1e-6)
        torch.testing.assert_close(pool[rows].double(), state, rtol=2**-8, atol=1e-6)
    else:
        assert_near({"out": found, "state": pool[rows]}, {"out": out, "state": state}, dtype)
    assert pool[OTHERS].isnan().all()


@each_runner(STATE)
@each_dtype
@pytest.mark.parametrize("name", CASES)
def test_several_tokens(name, dtype, runner):
    runner.need(STATE, dtype)
    call = state_call(Draw(dtype, runner.device), **CASES[name], tokens=3)
    out, state = kernel_oracles.selective_state_update(**call)
    storage = call["state"].data_ptr()
    found = runner.call(STATE, **call)
    assert found.dtype == dtype
    assert call["state"].data_ptr() == storage
    expected = {"out": out, "state": state}
    assert_near({"out": found, "state": call["state"]}, expected, dtype)


@each_runner(STATE)
@pytest.mark.parametrize("channels", [(6,), (4, 3)])
def test_no_tokens_leave_the_state_alone(channels, runner):
    runner.need(STATE, torch.float32)
    call = state_call(Draw(torch.float32, runner.device), channels=channels, tokens=0)
    before = call["state"].clone()
    assert runner.call(STATE, **call).shape == (3, *channels, 0)
    assert torch.equal(call["state"], before)


@each_runner(STATE)
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("channels", [(6,), (4, 3)])
def test_several_tokens_of_any_strides(channels, groups, runner):
    """Tokens that lie one after another, as behind a projection, each beside NaN."""
    runner.need(STATE, torch.float32)
    draw = Draw(torch.float32, runner.device)
    call = state_call(draw, channels=channels, groups=groups, tokens=4)
    for name in ("x", "dt", "B", "C", "z"):
        first = call[name].movedim(-1, 1)  # (B, T, ...)
        wide = first.new_full((*first.shape[:2], 2, *first.shape[2:]), torch.nan)
        wide[:, :, 1] = first
        call[name] = wide[:, :, 1].movedim(1, -1)
    out, state = kernel_oracles.selective_state_update(**call)
    found = runner.call(STATE, **call)
    assert_near({"out": found, "state": call["state"]}, {"out": out, "state": state}, torch.float32)


@each_runner(STATE)
def test_a_half_state_is_rounded_once_for_all_tokens(runner):
    """Rounded after each of 40 tokens, it would be off by some times as much."""
    runner.need(STATE, torch.bfloat16)
    call = state_call(Draw(torch.bfloat16, runner.device), tokens=40)
    call["A"] = call["A"] / 64  # a long memory
    out, state = kernel_oracles.selective_state_update(**call)
    found = runner.call(STATE, **call)
    torch.testing.assert_close(found.double(), out, rtol=2**-8, atol=1e-4)
    torch.testing.assert_close(call["state"].double(), state, rtol=2**-8, atol=1e-4)


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
@pytest.mark.parametrize("parts", [None, [1, 1, 4], [2, 0, 4], [6]], ids=str)
def test_any_split_into_updates_is_the_scan(parts, runner):
    """``None``: single steps without a dimension of time."""
    runner.need(STATE, torch.float32)
    draw = Draw(torch.float32, runner.device)
    scan = scan_call(draw, b="grouped", c="grouped", length=6)
    out, last = kernel_oracles.selective_scan(**scan)
    names = {"x": "u", "dt": "delta", "z": "z", "B": "B", "C": "C"}
    whole = {"A": scan["A"], "D": scan["D"], "dt_bias": scan["delta_bias"], "dt_softplus": True}
    state, steps, start = scan["initial_state"].clone(), [], 0
    for count in parts or [None] * 6:
        place = start if count is None else slice(start, start + count)
        tokens = {k: scan[name][..., place] for k, name in names.items()}
        y = runner.call(STATE, state, **tokens, **whole)
        steps.append(y[..., None] if count is None else y)
        start += 1 if count is None else count
    found = {"out": torch.cat(steps, -1), "state": state}
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
    state, heads = call["initial_states"].clone(), call["dt"].movedim(1, -1)
    y = runner.call(
        STATE, state, call["x"].movedim(1, -1), heads[:, :, None].expand(-1, *wide, -1),
        call["A"][:, None, None].expand(*wide, 5), call["B"].movedim(1, -1),
        call["C"].movedim(1, -1), D=call["D"][:, None].expand(*wide), z=call["z"].movedim(1, -1),
        dt_bias=call["dt_bias"][:, None].expand(*wide), dt_softplus=True,
    )  # fmt: skip
    found = {"out": y.movedim(-1, 1), "state": state}
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
@pytest.mark.parametrize("index_dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("tokens", [None, 0, 2, 9])
@pytest.mark.parametrize(("width", "spare"), [(4, 0), (4, 2), (1, 0), (3, 0)])
def test_only_the_indexed_rows_of_the_conv_state_move(
    width, spare, tokens, dtype, index_dtype, runner
):
    """The others are NaN, and stay it; none of it comes out."""
    runner.need(CONV, dtype)
    draw = Draw(dtype, runner.device)
    call = {
        "x": draw.normal(*((3, 5) if tokens is None else (3, 5, tokens))),
        "conv_state": draw.normal(3, 5, width - 1 + spare),
        "weight": draw.normal(5, width),
        "bias": draw.normal(5),
        "activation": "silu",
    }
    out, state = kernel_oracles.causal_conv1d_update(**call)
    pool, rows = pool_of(call["conv_state"], runner.device)
    call |= {"conv_state": pool, "state_batch_indices": rows.to(index_dtype)}
    found = runner.call(CONV, **call)
    if dtype == torch.bfloat16:
        torch.testing.assert_close(found.double(), out, rtol=2**-7, atol=1e-2)
    else:
        assert_near({"out": found}, {"out": out}, dtype)
    assert torch.equal(pool[rows].double(), state)  # inputs, moved
    assert pool[OTHERS].isnan().all()


@each_runner(CONV)
@pytest.mark.parametrize("width", [3, 4])
def test_strided_rows_of_the_conv_state(width, runner):
    """Indices and states of every second place of larger ones, channels innermost."""
    runner.need(CONV, torch.float32)
    draw = Draw(torch.float32, runner.device)
    x, weight, state = draw.normal(3, 5), draw.normal(5, width), draw.normal(3, 5, width - 1)
    out, after = kernel_oracles.causal_conv1d_update(x, state, weight)
    pool, rows = pool_of(state, runner.device)
    wide = pool.new_full((14, width - 1, 5), torch.nan)
    view = wide[::2].transpose(1, 2).copy_(pool)
    apart = torch.stack([rows, rows - 100], -1)[:, 0]
    found = runner.call(CONV, x, view, weight, state_batch_indices=apart)
    assert_near({"out": found, "state": view[rows]}, {"out": out, "state": after}, torch.float32)
    assert wide[1::2].isnan().all()
    assert view[OTHERS].isnan().all()


@each_runner(CONV)
def test_requests_come_and_go(runner):
    """Continuous batching: three sequences of other lengths share two rows of a pool, and each gets
    what it would get alone."""
    runner.need(CONV, torch.float32)
    draw = Draw(torch.float32, runner.device)
    weights = {"weight": draw.normal(5, 4), "bias": draw.normal(5), "activation": "silu"}
    tokens = {name: draw.normal(1, 5, length) for name, length in (("a", 2), ("b", 5), ("c", 3))}
    pool = draw.normal(2, 5, 3)
    found = {name: [] for name in tokens}
    for t in range(5):
        batch = {"a" if t < 2 else "c": (1, t % 2 if t < 2 else t - 2), "b": (0, t)}  # name: row, t
        for row in [row for row, at in batch.values() if at == 0]:
            pool[row] = 0  # a sequence begins
        rows = torch.tensor([row for row, _ in batch.values()], device=runner.device)
        x = torch.cat([tokens[name][..., at] for name, (_, at) in batch.items()])
        y = runner.call(CONV, x, pool, **weights, state_batch_indices=rows)
        for name, out in zip(batch, y, strict=True):
            found[name].append(out)
    for name, x in tokens.items():
        expected, _ = kernel_oracles.causal_conv1d(x, **weights)
        assert_near({"out": torch.stack(found[name], -1)}, {"out": expected[0]}, torch.float32)


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
