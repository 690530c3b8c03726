"""The Triton kernels in Triton's interpreter, on CPU tensors.

Runs only with TRITON_INTERPRET=1, which must be set before Triton is imported;
``test_start_interpreter.py`` starts it so.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="runs in a process of its own"
)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAMBA_KERNELS_BACKEND", "triton")


def test_reference_agrees(op: str, case: str, compare: Callable[..., None], poisoned: None) -> None:
    compare(op, case, "cpu", torch.float32)


@pytest.mark.parametrize("op", ["selective_scan", "ssd", "causal_conv1d", "rms_norm_gated"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision(op: str, dtype: torch.dtype, compare: Callable[..., None]) -> None:
    compare(op, "all", "cpu", dtype)


@pytest.mark.parametrize("op", ["selective_scan", "ssd", "causal_conv1d"])
def test_no_tokens(op: str, args: Callable[..., list[Any]]) -> None:
    module = importlib.import_module(f"mamba_kernels.backends.triton.{op}")
    for sizes in ({"length": 0}, {"batch": 0}):
        given = args(op, **sizes)
        initial = given[3] if op == "causal_conv1d" else given[8]
        out, last, saved = module.forward(*given, True)
        assert out.numel() == 0
        torch.testing.assert_close(last, initial)
        count = 4 if op == "causal_conv1d" else 9
        grads = module.backward(None, torch.ones_like(last), saved, [True] * count, *given)
        assert torch.equal(grads[-1], torch.ones_like(last))


def test_two_runs_are_bit_equal(args: Callable[..., list[Any]]) -> None:
    for op, count in (("selective_scan", 9), ("ssd", 9), ("causal_conv1d", 4)):
        module = importlib.import_module(f"mamba_kernels.backends.triton.{op}")
        given = args(op)

        def run(module: Any = module, given: Any = given, count: int = count) -> list[Any]:
            out, last, saved = module.forward(*given, True)
            grads = module.backward(out, last, saved, [True] * count, *given)
            return [out, last, *grads]

        for a, b in zip(run(), run(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("op", ["selective_scan", "ssd", "causal_conv1d"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_sequence_keeps_its_nan(
    op: str, poison: float, args: Callable[..., list[Any]], forced: None
) -> None:
    from mamba_kernels import ops

    given = args(op, edges=[0, 4, 9, 13])
    clean, dirty = given[0], given[0].clone()
    time = 1 if op == "ssd" else -1
    dirty.narrow(time, 4, 5).fill_(poison)
    results = []
    for x in (clean, dirty):
        x = x.clone().requires_grad_()
        if op == "causal_conv1d":
            out = ops.causal_conv1d(x, given[1], given[2], cu_seqlens=given[-1])
        elif op == "ssd":
            out = ops.ssd(x, *given[1:5], 64, cu_seqlens=given[-1])
        else:
            out = ops.selective_scan(x, *given[1:5], cu_seqlens=given[-1])
        out.backward(torch.ones_like(out))
        results.append((out.detach(), x.grad))
    others = torch.tensor([0, 1, 2, 3, 9, 10, 11, 12])
    for a, b in zip(*results, strict=True):
        assert torch.equal(a.index_select(time, others), b.index_select(time, others))


def test_operators_are_well_behaved(args: Callable[..., list[Any]], forced: None) -> None:
    """Schema, fake shapes (also of what is kept for backward) and autograd registration."""
    import mamba_kernels  # noqa: F401

    given = args("selective_scan", edges=[0, 4, 4, 11])
    operator = torch.ops.mamba_kernels.selective_scan.default
    tensors = [a.requires_grad_() for a in given[:9]]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, (*tensors, *given[9:], True, "triton"), test_utils=checks)
    saved = operator(*tensors, *given[9:], True, "triton")[2]
    assert saved.shape == (3 * 5 * 3,)  # one state of every sequence


def test_chosen_for_cpu_tensors() -> None:
    from mamba_kernels import backends, ops

    row = next(row for row in ops.backends() if row["name"] == "triton")
    assert set(row["ops"]) == set(backends.OPS)
    assert row["chosen"] == row["ops"]
    doubles = next(r for r in ops.backends(dtype=torch.float64) if r["name"] == "triton")
    assert not doubles["ops"]
    assert all("float64" in reason for reason in doubles["reasons"].values())


@pytest.mark.parametrize("heads", [False, True], ids=["channels", "heads"])
@pytest.mark.parametrize("groups", [0, 1, 2])
@pytest.mark.parametrize("rows", [None, [3, 0, 4]], ids=["in order", "by index"])
@pytest.mark.parametrize("tokens", [None, 0, 3])
def test_state_update(
    heads: bool, groups: int, rows: list[int] | None, tokens: int | None, poisoned: None
) -> None:
    from mamba_kernels.backends.reference import selective_state_update as reference
    from mamba_kernels.backends.triton import selective_state_update as module

    channels, n = ((4, 5) if heads else (8,)), 6
    time = () if tokens is None else (tokens,)
    by_state = (3, groups, n, *time) if groups else (3, n, *time)
    state = _rows(torch.randn(3, *channels, n), rows)
    exact = state.double()
    indices = None if rows is None else torch.tensor(rows)
    x, dt, z = torch.randn(3, 3, *channels, *time)
    tensors = [
        x, dt, -torch.rand(*channels, n), torch.randn(by_state), torch.randn(by_state),
        torch.randn(channels), z, torch.randn(channels),
    ]  # fmt: skip
    expected = reference.update(exact, *[t.double() for t in tensors], True, indices)
    found = module.update(state, *tensors, True, indices)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state.double(), exact, rtol=1e-5, atol=1e-5, equal_nan=True)


def _rows(state: torch.Tensor, rows: list[int] | None) -> torch.Tensor:
    """``state`` in those rows of a larger one that is NaN elsewhere."""
    if rows is None:
        return state
    pool = torch.full((5, *state.shape[1:]), torch.nan)
    pool[rows] = state
    return pool


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_several_tokens_are_as_many_single_ones(dtype: torch.dtype) -> None:
    from mamba_kernels.backends.triton import selective_state_update as module

    pool, rows = _rows(torch.randn(3, 8, 6), [3, 0, 4]), torch.tensor([3, 0, 4])
    single = pool.clone()
    x, dt, z = torch.randn(3, 3, 8, 4).to(dtype)
    B, C = torch.randn(2, 3, 2, 6, 4).to(dtype)
    A, D = -torch.rand(8, 6), torch.randn(8)
    steps = [
        module.update(
            single, x[..., t], dt[..., t], A, B[..., t], C[..., t], D, z[..., t], D, True, rows
        )
        for t in range(4)
    ]
    out = module.update(pool, x, dt, A, B, C, D, z, D, True, rows)
    torch.testing.assert_close(out, torch.stack(steps, -1), rtol=0, atol=0)
    torch.testing.assert_close(pool, single, rtol=0, atol=0, equal_nan=True)


def test_a_row_that_is_none_is_left_alone() -> None:
    """On a device nobody can be told, so the kernels neither read nor write there."""
    from mamba_kernels.backends.triton.kernels.updates import convolution_update

    memory = torch.full((4, 5, 3), torch.nan)
    state, x, weight, rows = memory[1:3], torch.randn(2, 5), torch.randn(5, 4), [2, -1]
    state.zero_()
    out = torch.empty(2, 5)
    convolution_update[(2,)](
        x, state, weight, None, torch.tensor(rows), out,
        (*x.stride(), 0), state.stride(), weight.stride(), 0, (*out.stride(), 0), 1, 3, 2, 5,
        WIDTH=4, PLACES=4, SILU=False, BLOCK=8, STEPS=1,
    )  # fmt: skip
    torch.testing.assert_close(out, x * weight[:, 3])
    assert torch.equal(state, torch.zeros_like(state))
    assert memory[[0, 3]].isnan().all()


@pytest.mark.parametrize("steps", [None, 1, 3, 20])
@pytest.mark.parametrize(("taps", "kept"), [(4, 3), (2, 1), (4, 6), (8, 7), (1, 0)])
@pytest.mark.parametrize("rows", [None, [3, 0, 4]], ids=["in order", "by index"])
def test_convolution_update(
    steps: int | None, taps: int, kept: int, rows: list[int] | None, poisoned: None
) -> None:
    from mamba_kernels.backends.reference import causal_conv1d_update as reference
    from mamba_kernels.backends.triton import causal_conv1d_update as module

    x = torch.randn(3, 70) if steps is None else torch.randn(3, 70, steps)
    state, weight, bias = torch.randn(3, 70, kept), torch.randn(70, taps), torch.randn(70)
    state = _rows(state, rows)
    exact = state.double()
    indices = None if rows is None else torch.tensor(rows)
    expected = reference.update(x.double(), exact, weight.double(), bias.double(), "silu", indices)
    found = module.update(x, state, weight, bias, "silu", indices)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state.double(), exact, rtol=0, atol=0, equal_nan=True)


def test_offsets_beyond_32_bits(args: Callable[..., list[Any]]) -> None:
    """A view whose channels lie 2^30 elements apart: the third is out of the reach of int32."""
    from mamba_kernels.backends.triton import selective_scan as module

    given = args("selective_scan", batch=1, width=4, length=4)
    expected = module.forward(*given, False)[0]
    apart = 1 << 30
    try:
        memory = torch.empty(3 * apart + 4, dtype=torch.float16)  # touched in four places only
    except RuntimeError:
        pytest.skip("this machine does not lend so much address space")
    given[0] = given[0].half()
    far = memory.as_strided((1, 4, 4), (0, apart, 1))
    far.copy_(given[0])
    expected = module.forward(*given, False)[0]
    assert torch.equal(module.forward(far, *given[1:], False)[0], expected)
