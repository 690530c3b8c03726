"""What must hold of every scan whoever computes it: the properties, on every backend."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    RETURN_STATE,
    Draw,
    conv_call,
    differentiable,
    each_runner,
    results,
    runners,
    scan_call,
    ssd_call,
)

SCANS = ("selective_scan", "ssd", "causal_conv1d")
MAKE = {"selective_scan": scan_call, "ssd": ssd_call, "causal_conv1d": conv_call}
STATE = {
    "selective_scan": "initial_state",
    "ssd": "initial_states",
    "causal_conv1d": "initial_states",
}
# the dimension of time in every argument that has one, without paths
TIME = {
    "selective_scan": {"u": 2, "delta": 2, "z": 2, "B": -1, "C": -1},
    "ssd": {"x": 1, "dt": 1, "z": 1, "B": 1, "C": 1},
    "causal_conv1d": {"x": 2},
}
TIME_OUT = {"selective_scan": -1, "ssd": -3, "causal_conv1d": -1}
DTYPE = torch.float32


def each_of(*names):
    """Parametrise a test by ``op`` and ``runner``."""
    found = [
        pytest.param(op, *p.values, id=f"{op}-{p.id}", marks=p.marks)
        for op in names
        for p in runners(op)
    ]
    return pytest.mark.parametrize(("op", "runner"), found)


each_scan = each_of(*SCANS)


def everything(op, runner, call, **options):
    """Outputs, states and gradients of a call."""
    runner.need(op, DTYPE)

    def function(**arguments):
        return runner.call(op, **arguments, **RETURN_STATE[op])

    return results(function, call, dtype=DTYPE, device=runner.device, **options)


def values(op, runner, call):
    """Output and state of a call."""
    found = everything(op, runner, call, with_grad=False)
    return found["out"], found["state"]


def close(have, want):
    torch.testing.assert_close(have, want, rtol=2e-4, atol=2e-5)


def part(op, call, start, stop):
    """The call on some of its tokens."""
    cut = dict(call)
    for name, dim in TIME[op].items():
        if cut[name] is not None:
            cut[name] = cut[name].narrow(dim, start, stop - start)
    return cut


LENGTHS = [4, 0, 1, 18, 1, 6]


@each_scan
@pytest.mark.parametrize("initial", [False, True])
def test_packed_is_separate_with_gradients(op, runner, initial):
    call = MAKE[op](Draw(DTYPE, runner.device), lengths=LENGTHS, initial=initial)
    packed = everything(op, runner, call)
    leaves = {n: call[n].detach().clone().requires_grad_() for n in differentiable(call)}
    whole, outputs, states, start = {**call, **leaves, "cu_seqlens": None}, [], [], 0
    for row, length in enumerate(LENGTHS):
        own = part(op, whole, start, start + length)
        if initial:
            own[STATE[op]] = own[STATE[op]][row : row + 1]
        out, state = runner.call(op, **own, **RETURN_STATE[op])
        outputs.append(out)
        states.append(state)
        start += length
    together = torch.cat(outputs, TIME_OUT[op]), torch.cat(states)
    separate = results(lambda **_: together, {}, dtype=DTYPE, device=runner.device, with_grad=False)
    draw = Draw(DTYPE, runner.device, seed=99)
    total = sum((t * draw.normal(*t.shape)).sum() for t in together)
    grads = torch.autograd.grad(total, list(leaves.values()))
    separate |= {f"d {n}": g for n, g in zip(leaves, grads, strict=True)}
    assert packed.keys() == separate.keys()
    for name, value in packed.items():
        close(value, separate[name])


@each_of("ssd", "causal_conv1d")
def test_segments_are_packing(op, runner):
    call = MAKE[op](Draw(DTYPE, runner.device), batch=1, length=11, initial=False)
    runs = torch.tensor([[5, 5, 5, 2, 9, 9, 9, 9, 5, 5, 5]], device=runner.device)
    edges = torch.tensor([0, 3, 4, 8, 11], device=runner.device)
    by_number = everything(op, runner, {**call, "seq_idx": runs}, through=("out",))
    by_edge = everything(op, runner, {**call, "cu_seqlens": edges}, through=("out",))
    close(by_number.pop("state"), by_edge.pop("state")[-1:])
    for name, value in by_number.items():
        close(value, by_edge[name])


@each_scan
@settings(max_examples=10, deadline=None)
@given(cuts=st.sets(st.integers(0, 20), max_size=5).map(sorted))
def test_any_split_into_pieces_is_one_call(op, runner, cuts):
    call = MAKE[op](Draw(DTYPE, runner.device), length=20)
    whole, last = values(op, runner, call)
    state, pieces = call[STATE[op]], []
    for start, stop in zip([0, *cuts], [*cuts, 20], strict=True):
        own = {**part(op, call, start, stop), STATE[op]: state}
        piece, state = values(op, runner, own)
        pieces.append(piece)
    close(torch.cat(pieces, TIME_OUT[op]), whole)
    close(state, last)


@each_runner("ssd")
def test_permuted_heads_permute_the_result(runner):
    call = ssd_call(Draw(DTYPE, runner.device), groups=1)
    turn = torch.tensor([3, 0, 5, 1, 4, 2], device=runner.device)
    moved = {"x": 2, "dt": 2, "z": 2, "A": 0, "D": 0, "dt_bias": 0, "initial_states": 1}
    turned = {**call, **{n: call[n].index_select(d, turn) for n, d in moved.items()}}
    plain, other = everything("ssd", runner, call), everything("ssd", runner, turned)
    close(other["out"], plain["out"].index_select(2, turn))
    close(other["state"], plain["state"].index_select(1, turn))


@each_runner("selective_scan")
def test_permuted_channels_permute_the_result(runner):
    call = scan_call(Draw(DTYPE, runner.device))
    turn = torch.tensor([3, 0, 5, 1, 4, 2], device=runner.device)
    moved = {"u": 1, "delta": 1, "z": 1, "A": 0, "D": 0, "delta_bias": 0, "initial_state": 1}
    turned = {**call, **{n: call[n].index_select(d, turn) for n, d in moved.items()}}
    (out, last), (other, other_last) = (values("selective_scan", runner, c) for c in (call, turned))
    close(other, out.index_select(1, turn))
    close(other_last, last.index_select(1, turn))


@each_of("selective_scan", "ssd")
def test_an_open_gate_is_no_gate(op, runner):
    call = MAKE[op](Draw(DTYPE, runner.device), gate=False)
    first = next(iter(TIME[op]))
    z = torch.full_like(call[first], 1.2784645427610738)  # SiLU of it is 1
    close(values(op, runner, {**call, "z": z})[0], values(op, runner, call)[0])


@each_of("selective_scan", "ssd")
def test_steps_of_no_size_freeze_the_state(op, runner):
    bias = {"selective_scan": "delta_bias", "ssd": "dt_bias"}[op]
    call = MAKE[op](Draw(DTYPE, runner.device))
    for low in (-1e4, float("-inf")):
        frozen = everything(op, runner, {**call, bias: torch.full_like(call[bias], low)})
        assert torch.equal(frozen["state"], call[STATE[op]])
        assert all(value.isfinite().all() for value in frozen.values())


@each_scan
def test_a_reversed_order_is_flip_in_flip_out(op, runner):
    call = MAKE[op](Draw(DTYPE, runner.device), paths=1, length=17)
    backwards = torch.arange(16, -1, -1, device=runner.device)[None]
    out, last = values(op, runner, {**call, "order": backwards})
    flipped = {**call, "order": None}
    for name in TIME[op]:  # B, C and the step sizes have a path, the tokens are shared
        value = flipped[name]
        if value is not None:
            dim = TIME[op][name]
            has_path = name in ("delta", "dt", "B", "C")
            value = value.squeeze(1) if has_path else value
            flipped[name] = value.flip(dim)
    flipped[STATE[op]] = call[STATE[op]].squeeze(1)
    plain, plain_last = values(op, runner, flipped)
    close(out.squeeze(1), plain.flip(TIME_OUT[op]))
    close(last.squeeze(1), plain_last)


@each_scan
def test_paths_are_independent(op, runner):
    """K paths at once are K calls with one path each."""
    call = MAKE[op](Draw(DTYPE, runner.device), paths=3, own_tokens=True, length=7)
    out, last = values(op, runner, call)
    for k in range(3):
        own = {**call, "order": call["order"][k : k + 1]}
        for name in (*TIME[op], STATE[op]):
            own[name] = None if own[name] is None else own[name][:, k : k + 1]
        alone, alone_last = values(op, runner, own)
        close(out[:, k : k + 1], alone)
        close(last[:, k : k + 1], alone_last)


@each_of("selective_scan", "ssd")
def test_the_scan_is_linear_in_its_tokens(op, runner):
    first = next(iter(TIME[op]))
    draw = Draw(DTYPE, runner.device)
    call = MAKE[op](draw, initial=False, gate=False)
    other = draw.normal(*call[first].shape)

    def at(tokens):
        return values(op, runner, {**call, first: tokens})

    one, two = at(call[first]), at(other)
    both = at(2 * call[first] - 3 * other)
    for have, a, b in zip(both, one, two, strict=True):
        close(have, 2 * a - 3 * b)


@each_scan
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("sequence", range(3))
def test_bad_numbers_stay_in_their_sequence(op, runner, bad, sequence):
    lengths = [5, 20, 3]
    call = MAKE[op](Draw(DTYPE, runner.device), lengths=lengths)
    good = everything(op, runner, call)
    edges = [0, 5, 25, 28]
    start, stop = edges[sequence], edges[sequence + 1]
    spoiled = dict(call)
    for name, dim in TIME[op].items():
        spoiled[name] = call[name].clone()
        spoiled[name].narrow(dim, start, stop - start).fill_(bad)
    spoiled[STATE[op]] = call[STATE[op]].clone()
    spoiled[STATE[op]][sequence] = bad
    found = everything(op, runner, spoiled)
    keep = [i for i in range(3) if i != sequence]
    assert torch.equal(found["state"][keep], good["state"][keep])
    names = {"out": TIME_OUT[op], **{f"d {name}": dim for name, dim in TIME[op].items()}}
    for name, dim in names.items():
        for i in keep:
            own = (dim, edges[i], lengths[i])
            assert torch.equal(found[name].narrow(*own), good[name].narrow(*own)), name


@each_scan
def test_bad_numbers_stay_in_their_batch_item(op, runner):
    call = MAKE[op](Draw(DTYPE, runner.device), batch=3)
    good = everything(op, runner, call)
    spoiled = {**call, STATE[op]: call[STATE[op]].clone()}
    spoiled[STATE[op]][1] = float("nan")
    for name in TIME[op]:
        spoiled[name] = call[name].clone()
        spoiled[name][1] = float("nan")
    found = everything(op, runner, spoiled)
    for name in ("out", "state", *(f"d {name}" for name in (*TIME[op], STATE[op]))):
        assert torch.equal(found[name][[0, 2]], good[name][[0, 2]]), name


@pytest.fixture
def _poisoned():
    """Memory that is handed out unwritten holds NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@each_scan
@pytest.mark.usefixtures("_poisoned")
@pytest.mark.parametrize(
    "options",
    [{}, {"lengths": [5, 0, 18, 1]}, {"paths": 2, "own_tokens": True}, {"initial": False}],
    ids=["plain", "packed", "order", "zero-start"],
)
def test_nothing_unwritten_is_read(op, runner, options):
    call = MAKE[op](Draw(DTYPE, runner.device), **options)
    for value in everything(op, runner, call).values():
        assert value.isfinite().all()


@each_scan
@pytest.mark.parametrize(
    "options", [{}, {"lengths": [5, 0, 70, 1]}, {"paths": 2}], ids=["plain", "packed", "order"]
)
def test_two_runs_are_bit_equal(op, runner, options):
    call = MAKE[op](Draw(DTYPE, runner.device), **options)
    first, second = everything(op, runner, call), everything(op, runner, call)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def strided(t, way):
    """The same numbers in another layout."""
    if way == "transposed":
        return t.transpose(0, -1).contiguous().transpose(0, -1)
    spread = torch.full((*t.shape, 3), float("nan"), dtype=t.dtype, device=t.device)
    spread[..., 1] = t
    return spread[..., 1]  # every stride times 3, an odd offset, NaN between the numbers


@each_scan
@pytest.mark.parametrize("way", ["transposed", "spread"])
@pytest.mark.parametrize("options", [{}, {"paths": 2}, {"lengths": [4, 5]}], ids=str)
def test_any_strides(op, runner, way, options):
    call = MAKE[op](Draw(DTYPE, runner.device), **options)
    plain = everything(op, runner, call)
    names = differentiable(call)
    leaves = {n: call[n].detach().clone().requires_grad_() for n in names}
    moved = {**call, **{n: strided(leaf, way) for n, leaf in leaves.items()}}
    for name in ("order", "cu_seqlens"):
        if call[name] is not None:
            moved[name] = call[name].repeat_interleave(2, -1)[..., ::2]
    outputs = runner.call(op, **moved, **RETURN_STATE[op])
    assert all(t.is_contiguous() for t in outputs)
    draw = Draw(DTYPE, runner.device, seed=99)
    total = sum((t * strided(draw.normal(*t.shape), way)).sum() for t in outputs)
    found = dict(zip(("out", "state"), outputs, strict=True))
    grads = torch.autograd.grad(total, list(leaves.values()))
    found |= {f"d {n}": g for n, g in zip(names, grads, strict=True)}
    for name, value in plain.items():
        close(found[name], value)


@each_scan
def test_expanded_inputs(op, runner):
    """One item for the whole batch, without a copy; its gradient is the sum over the batch."""
    call = MAKE[op](Draw(DTYPE, runner.device), batch=1)
    names = [*TIME[op], STATE[op]]
    leaves = {n: call[n].clone().requires_grad_() for n in names}
    wide = {**call, **{n: t.expand(3, *t.shape[1:]) for n, t in leaves.items()}}
    out, last = runner.call(op, **wide, **RETURN_STATE[op])
    plain, plain_last = values(op, runner, call)
    close(out, plain.expand_as(out))
    close(last, plain_last.expand_as(last))
    (out.sum() + last.sum()).backward()
    single = {n: call[n].clone().requires_grad_() for n in names}
    sums = runner.call(op, **{**call, **single}, **RETURN_STATE[op])
    sum(t.sum() for t in sums).backward()
    for name in names:
        close(leaves[name].grad, 3 * single[name].grad)


@each_scan
def test_inputs_are_left_alone(op, runner):
    call = MAKE[op](Draw(DTYPE, runner.device))
    before = {n: call[n].clone() for n in differentiable(call)}
    _, last = values(op, runner, call)
    for name, value in before.items():
        assert torch.equal(call[name], value), name
    last.fill_(7)  # the caller may write into a state: it shares no memory with the inputs
    for name, value in before.items():
        assert torch.equal(call[name], value), name


@each_scan
def test_offsets_beyond_32_bits(op, runner):
    """A view whose rows lie more than 2**31 numbers apart; almost none of it is ever touched."""
    call = MAKE[op](Draw(DTYPE, runner.device), batch=1)
    first = next(iter(TIME[op]))
    apart, tokens = 2**31 + 3, call[first]
    rows = tokens.movedim(-2, 0)  # channels of the scan and the convolution, heads of SSD
    try:
        memory = torch.empty(apart + rows[0].numel(), dtype=DTYPE, device=runner.device)
    except RuntimeError as error:
        pytest.skip(f"no 8 GiB of address space: {error}")
    inner = rows[0].contiguous()
    far = memory.as_strided((2, *inner.shape), (apart, *inner.stride()))
    far.copy_(rows[:2])
    channels = {"selective_scan": 1, "causal_conv1d": 1, "ssd": 2}[op]
    two = MAKE[op](
        Draw(DTYPE, runner.device), batch=1, **{"heads" if op == "ssd" else "channels": 2}
    )
    near = tokens.narrow(channels, 0, 2).clone()
    view = far.movedim(0, -2)
    assert torch.equal(view, near)
    for have, want in zip(
        values(op, runner, {**two, first: view}),
        values(op, runner, {**two, first: near}),
        strict=True,
    ):
        close(have, want)
