"""What does not fit is refused in one sentence that names the value, the rule and the way out."""

from __future__ import annotations

import pytest
import torch
from kernel_cases import Draw, conv_call, each_runner, scan_call, ssd_call

from mamba_kernels import ops

DRAW = Draw(torch.float32)
SCAN, SSD, CONV = "selective_scan", "ssd", "causal_conv1d"
STATE, CONV_STEP, NORM = "selective_state_update", "causal_conv1d_update", "rms_norm_gated"
ones, randn = torch.ones, torch.randn
GOOD = {
    SCAN: lambda: scan_call(DRAW),
    SSD: lambda: ssd_call(DRAW),
    CONV: lambda: conv_call(DRAW),
    NORM: lambda: {"x": randn(2, 6), "weight": randn(6), "z": randn(2, 6)},
    STATE: lambda: {
        "state": randn(2, 4, 3), "x": randn(2, 4), "dt": randn(2, 4), "A": -ones(4, 3),
        "B": randn(2, 3), "C": randn(2, 3),
    },
    CONV_STEP: lambda: {"x": randn(2, 5), "conv_state": randn(2, 5, 3), "weight": randn(5, 4)},
}  # fmt: skip


class Rank:
    """A stand-in for ``scan_orders.Rank``, which this room does not know."""


SHAPES = [  # op, changed arguments, words of the message
    (SCAN, {"u": randn(6, 9)}, r"u must have shape \(B, D, L\), or .* got \(6, 9\)"),
    (SCAN, {"u": randn(2, 3, 6, 9)}, r"u must have shape \(B, D, L\), or .* with an order"),
    (SCAN, {"delta": randn(2, 6, 8)}, r"delta must have shape \(2, 6, 9\), got \(2, 6, 8\)"),
    (SCAN, {"z": randn(2, 5, 9)}, r"z must have shape \(2, 6, 9\).*got \(2, 5, 9\)"),
    (SCAN, {"A": randn(5, 5)}, r"A must have shape \(6, N\).*got \(5, 5\)"),
    (SCAN, {"B": randn(2, 4, 9)}, r"B must have shape \(6, 5\) or \(2, 5, 9\).*got \(2, 4, 9\)"),
    (SCAN, {"C": randn(2, 4, 5, 9)}, r"C has 4 groups, which do not divide the 6 channels"),
    (SCAN, {"C": randn(2, 0, 5, 9)}, r"C has 0 groups"),
    (
        SCAN,
        {"B": randn(2, 2, 5, 9), "C": randn(2, 3, 5, 9)},
        r"same number of groups, got \[2, 3\]",
    ),
    (SCAN, {"D": randn(5)}, r"D must have shape \(6,\), got \(5,\)"),
    (SCAN, {"delta_bias": randn(1, 6)}, r"delta_bias must have shape \(6,\)"),
    (SCAN, {"initial_state": randn(1, 6, 5)}, r"initial_state must have shape \(2, 6, 5\)"),
    (SCAN, {"A": torch.randn(6, 5, dtype=torch.complex64)}, r"B must have shape .*\(2, 5, 18\)"),
    (SSD, {"x": randn(2, 9, 6)}, r"x must have shape \(B, L, H, P\), or .*got \(2, 9, 6\)"),
    (SSD, {"dt": randn(2, 9, 5)}, r"dt must have shape \(2, 9, 6\), got \(2, 9, 5\)"),
    (SSD, {"A": randn(6, 5)}, r"A must have shape \(6,\).*got \(6, 5\)"),
    (SSD, {"B": randn(2, 9, 4, 5), "C": randn(2, 9, 4, 5)}, r"B has 4 groups, .* the 6 heads"),
    (SSD, {"B": randn(2, 9, 3, 5)}, r"same number of groups, got \[2, 3\]"),
    (SSD, {"B": torch.tensor(1.0)}, r"B must have shape"),
    (SSD, {"D": randn(3)}, r"D must have shape \(6,\) or \(6, 3\), got \(3,\)"),
    (SSD, {"chunk_size": 0}, r"chunk_size must be at least 1, got 0"),
    (SSD, {"dt_limit": (0.5, 0.1)}, r"dt_limit must be 0 <= low <= high, got \(0.5, 0.1\)"),
    (SSD, {"dt_limit": (-1.0, 0.1)}, r"dt_limit must be 0 <= low <= high"),
    (SSD, {"initial_states": randn(2, 6, 5, 3)}, r"initial_states must have shape \(2, 6, 3, 5\)"),
    (CONV, {"x": randn(5, 9)}, r"x must have shape \(B, D, L\), or .*got \(5, 9\)"),
    (CONV, {"weight": randn(5, 1, 4)}, r"weight must have shape \(5, W\).*got \(5, 1, 4\)"),
    (CONV, {"weight": randn(5, 0)}, r"weight must be at least one column wide"),
    (CONV, {"bias": randn(4)}, r"bias must have shape \(5,\)"),
    (CONV, {"initial_states": randn(2, 5, 4)}, r"initial_states must have shape \(2, 5, 3\)"),
    (CONV, {"activation": "gelu"}, r"activation must be None, 'silu' or 'swish', got 'gelu'"),
    (NORM, {"x": torch.tensor(1.0)}, r"x must have shape \(..., D\), got a scalar"),
    (NORM, {"weight": randn(5)}, r"weight must have shape \(6,\), got \(5,\)"),
    (NORM, {"z": randn(6)}, r"z must have shape \(2, 6\), got \(6,\)"),
    (NORM, {"group_size": 4}, r"group_size 4 does not divide the 6 channels"),
    (NORM, {"group_size": 0}, r"group_size 0 does not divide"),
    (STATE, {"x": randn(4)}, r"x must have shape \(B, D\) or, for several tokens, \(B, D, T\)"),
    (STATE, {"x": randn(2, 4, 5, 3)}, r"beside a state \(B, D, N\), got \(2, 4, 5, 3\)"),
    (STATE, {"x": randn(2, 4, 5)}, r"dt must have shape \(2, 4, 5\), got \(2, 4\)"),
    (STATE, {"x": randn(2, 4, 5), "dt": randn(2, 4, 5)}, r"B must have .*\(2, 3, 5\) or \(2, G, 3"),
    (STATE, {"state": randn(2, 4)}, r"state must have shape \(B, D, N\) or .*, got \(2, 4\)"),
    (STATE, {"state": randn(3, 4, 3)}, r"state must have shape \(2, 4, 3\), got \(3, 4, 3\)"),
    (STATE, {"A": randn(4)}, r"A must have shape"),
    (STATE, {"B": randn(2, 3, 3)}, r"B has 3 groups, which do not divide 4 channels"),
    (STATE, {"B": randn(2, 4, 3), "C": randn(2, 2, 3)}, r"same number of groups, got \[2, 4\]"),
    (STATE, {"state_batch_indices": torch.zeros(3, dtype=torch.int64)}, r"state_batch_indices"),
    (CONV_STEP, {"conv_state": randn(2, 5, 2)}, r"width 4 needs its last 3 inputs, .* holds 2"),
    (CONV_STEP, {"x": randn(5)}, r"x must have shape \(B, D\) or \(B, D, T\), got \(5,\)"),
    (CONV_STEP, {"activation": "relu"}, r"activation must be None"),
    (CONV_STEP, {"state_batch_indices": torch.zeros(3).int()}, r"state_batch_indices .*\(2,\)"),
    (CONV_STEP, {"state_batch_indices": torch.zeros(2, device="meta").int()}, r".*is on meta"),
    (CONV_STEP, {"conv_state": randn(3, 5, 3)}, r"conv_state must have shape \(2, 5"),
]


@pytest.mark.parametrize(("op", "change", "words"), SHAPES, ids=lambda v: str(v)[:40])
def test_shapes_and_numbers(op, change, words):
    with pytest.raises(ValueError, match=f"^{op}: .*{words}") as caught:
        getattr(ops, op)(**{**GOOD[op](), **change})
    assert "\n" not in str(caught.value)


INTEGERS = torch.ones(2, 6, 9, dtype=torch.int64)
DTYPES = [
    (SCAN, {"u": INTEGERS}, r"u must be floating point, got torch.int64: convert it"),
    (SCAN, {"u": [1.0]}, r"u must be a tensor, got list"),
    (SCAN, {"A": None}, r"A must be a tensor, got NoneType"),
    (SCAN, {"B": randn(2, 5, 9) * 1j}, r"B is complex and A is not"),
    (SCAN, {"initial_state": randn(2, 6, 5) * 1j}, r"initial_state is complex and A is not"),
    (SSD, {"A": randn(6) * 1j}, r"A is complex, SSD is real: use selective_scan"),
    (CONV, {"x": randn(2, 5, 9) * 1j}, r"x must be floating point, got torch.complex64"),
    (NORM, {"weight": torch.ones(6, dtype=torch.bool)}, r"weight must be floating point"),
    (STATE, {"A": -ones(4, 3) * 1j}, r"A must be floating point, got torch.complex64"),
    (STATE, {"state_batch_indices": torch.zeros(2)}, r"state_batch_indices must be an int32 or"),
    (CONV_STEP, {"weight": INTEGERS[0]}, r"weight must be floating point"),
    (CONV_STEP, {"state_batch_indices": torch.zeros(2)}, r"state_batch_indices must be an int32"),
    (
        CONV_STEP,
        {"state_batch_indices": [0, 1]},
        r"state_batch_indices must be .*, got list",
    ),
]


@pytest.mark.parametrize(("op", "change", "words"), DTYPES, ids=lambda v: str(v)[:40])
def test_types(op, change, words):
    with pytest.raises(TypeError, match=f"^{op}: {words}"):
        getattr(ops, op)(**{**GOOD[op](), **change})


@pytest.mark.parametrize("name", ["u", "delta", "D", "z", "delta_bias"])
def test_only_the_state_space_of_a_complex_scan_is_complex(name):
    call = scan_call(DRAW, complex_=True)
    call[name] = call[name] * (1 + 1j)
    with pytest.raises(TypeError, match=f"selective_scan: {name} must be real"):
        ops.selective_scan(**call)


@pytest.mark.parametrize("name", ["B", "C"])
def test_complex_b_over_time_comes_as_real_pairs(name):
    call = scan_call(DRAW, complex_=True)
    call[name] = torch.complex(call[name], call[name])
    with pytest.raises(TypeError, match=rf"{name} over time must be pairs.*view_as_real"):
        ops.selective_scan(**call)


@pytest.mark.parametrize("op", GOOD)
def test_devices(op):
    call = GOOD[op]()
    name = "A" if "A" in call else "weight"
    with pytest.raises(ValueError, match=rf"^{op}: {name} is on meta and \w+ on cpu: move both"):
        getattr(ops, op)(**{**call, name: call[name].to("meta")})


each_scan = pytest.mark.parametrize(
    ("op", "make"), [(SCAN, scan_call), (SSD, ssd_call), (CONV, conv_call)]
)


@each_scan
@pytest.mark.parametrize(
    ("order", "error", "words"),
    [
        (Rank(), TypeError, "order must be an int64 tensor, got Rank. An order says which token"),
        ([0, 1], TypeError, "order must be an int64 tensor, got list"),
        (torch.arange(9, dtype=torch.int32)[None], TypeError, r"order must be int64.*order.long"),
        (torch.arange(8)[None], ValueError, r"order must have shape \(K, 9\) or \(2, K, 9\)"),
        (torch.arange(9), ValueError, r"order must have shape \(K, 9\)"),
        (torch.zeros(3, 1, 9, dtype=torch.int64), ValueError, r"order must have shape"),
        (torch.arange(9, device="meta")[None], ValueError, "order is on meta, the tokens are on"),
    ],
    ids=lambda v: str(v)[:24],
)
def test_orders(op, make, order, error, words):
    call = make(DRAW, paths=1)
    with pytest.raises(error, match=f"{op}: {words}"):
        getattr(ops, op)(**{**call, "order": order})


@each_scan
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    "row",
    [[0, 1, 1, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8, 9], [-1, 1, 2, 3, 4, 5, 6, 7, 8]],
    ids=["repeats", "beyond", "negative"],
)
def test_orders_that_are_no_permutation(op, make, row, grad):
    call = make(DRAW, paths=2)
    call["order"] = torch.stack([torch.arange(9), torch.tensor(row)])
    first = next(iter(call))
    call[first].requires_grad_(grad)
    with pytest.raises(ValueError, match=r"must read each of the tokens 0\.\.8 once"):
        getattr(ops, op)(**call)


@each_scan
def test_orders_that_cross_sequences(op, make):
    call = make(DRAW, paths=1, lengths=[4, 5])
    call["order"] = torch.tensor([[0, 1, 2, 4, 3, 5, 6, 7, 8]])
    with pytest.raises(ValueError, match=r"tokens 0\.\.3 once between its positions 0 and 3"):
        getattr(ops, op)(**call)


@each_scan
@pytest.mark.parametrize(
    ("edges", "error", "words"),
    [
        ([0, 4, 9], TypeError, "cu_seqlens must be an int32 or int64 tensor, got list"),
        (torch.tensor([0.0, 9.0]), TypeError, "cu_seqlens must be .* got torch.float32"),
        (torch.tensor([[0, 9]]), ValueError, r"cu_seqlens must have shape \(sequences \+ 1,\)"),
        (torch.zeros(0, dtype=torch.int32), ValueError, r"cu_seqlens must have shape"),
        (torch.tensor([0, 9], device="meta"), ValueError, "cu_seqlens is on meta"),
    ],
    ids=str,
)
def test_edges(op, make, edges, error, words):
    call = {**make(DRAW, lengths=[4, 5], initial=False), "cu_seqlens": edges}
    with pytest.raises(error, match=f"{op}: {words}"):
        getattr(ops, op)(**call)


@each_scan
def test_edges_want_a_batch_of_one(op, make):
    call = {**make(DRAW, initial=False), "cu_seqlens": torch.tensor([0, 9])}
    with pytest.raises(ValueError, match="in a batch of 1, got batch 2: concatenate"):
        getattr(ops, op)(**call)


BAD_EDGES = [[0, 5, 4, 9], [1, 4, 9], [0, 4, 8], [0, 4, 10], [9], [-1, 9]]


@each_scan
@pytest.mark.parametrize("edges", BAD_EDGES, ids=str)
def test_edges_that_do_not_rise_to_the_length(op, make, edges):
    call = make(DRAW, lengths=[4, 5], initial=False)
    call["cu_seqlens"] = torch.tensor(edges)
    with pytest.raises(ValueError, match="cu_seqlens must rise from 0 to the packed length 9"):
        getattr(ops, op)(**call)


@pytest.mark.parametrize(("op", "make"), [(SSD, ssd_call), (CONV, conv_call)])
def test_segments(op, make):
    function, call = getattr(ops, op), make(DRAW, batch=1, initial=False)
    runs = torch.zeros(1, 9, dtype=torch.int32)
    with pytest.raises(TypeError, match="seq_idx must be an int32 or int64 tensor"):
        function(**{**call, "seq_idx": runs.float()})
    with pytest.raises(ValueError, match=r"seq_idx must have shape \(1, 9\), got \(9,\)"):
        function(**{**call, "seq_idx": runs[0]})
    with pytest.raises(ValueError, match="seq_idx is on meta"):
        function(**{**call, "seq_idx": runs.to("meta")})
    with pytest.raises(ValueError, match="describe the same thing: pass one of them"):
        function(**{**call, "seq_idx": runs, "cu_seqlens": torch.tensor([0, 9])})
    ordered = {**make(DRAW, batch=1, paths=1, initial=False), "seq_idx": runs}
    with pytest.raises(ValueError, match="seq_idx cannot be combined with order"):
        function(**ordered)


@pytest.mark.parametrize(("op", "state"), [(STATE, "state"), (CONV_STEP, "conv_state")])
@each_runner(STATE)
@pytest.mark.parametrize("rows", [[0, 2], [-1, 0]], ids=str)
def test_state_rows_that_are_not_there(rows, runner, op, state):
    if runner.device != "cpu":
        pytest.skip("on an accelerator looking would wait for it")
    call = {**GOOD[op](), "state_batch_indices": torch.tensor(rows)}
    before = call[state].clone()
    with pytest.raises(ValueError, match=r"state_batch_indices must be rows 0\.\.1"):
        runner.call(op, **call)
    assert torch.equal(call[state], before)


def test_indices_of_the_convolution_go_by_name():
    """In their place ``causal_conv1d`` has ``cache_seqlens``, which means something else."""
    with pytest.raises(TypeError, match="positional"):
        ops.causal_conv1d_update(*GOOD[CONV_STEP]().values(), None, None, torch.tensor([0, 1]))
