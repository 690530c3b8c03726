"""The same cases on the GPU, in all dtypes, and what only a GPU can show."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_agrees(op: str, case: str, dtype: str, compare: Callable[..., None]) -> None:
    compare(op, case, "cuda", DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_segments_change_nothing(
    segments: tuple[int, dict[str, Any]],
    dtype: str,
    compare: Callable[..., None],
    cut: Callable[[int], None],
) -> None:
    span, sizes = segments
    cut(span)
    compare("selective_scan", sizes, "cuda", DTYPES[dtype])


def _on_gpu(values: list[Any]) -> list[Any]:
    return [v.cuda() if isinstance(v, torch.Tensor) else v for v in values]


@pytest.mark.parametrize("op", ["selective_scan", "ssd", "causal_conv1d", "rms_norm_gated"])
def test_two_runs_are_bit_equal(op: str, args: Callable[..., list[Any]]) -> None:
    module = importlib.import_module(f"mamba_kernels.backends.triton.{op}")
    given = _on_gpu(args(op))
    needs = [True] * (4 if op in ("causal_conv1d", "rms_norm_gated") else 9)

    def run() -> list[Any]:
        out, last, saved = module.forward(*given, True)
        return [out, last, *module.backward(out, last, saved, needs, *given)]

    for a, b in zip(run(), run(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("op", ["selective_scan", "ssd", "causal_conv1d"])
def test_packing_never_waits_for_the_device(op: str, args: Callable[..., list[Any]]) -> None:
    module = importlib.import_module(f"mamba_kernels.backends.triton.{op}")
    given = _on_gpu(args(op, edges=[0, 4, 4, 11]))
    module.forward(*given, True)  # compile
    torch.cuda.set_sync_debug_mode("error")
    try:
        out, last, saved = module.forward(*given, True)
        module.backward(out, last, saved, [True] * (4 if op == "causal_conv1d" else 9), *given)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("time", [(), (3,)], ids=["one token", "several"])
@pytest.mark.parametrize("indices", [None, [3, 1]], ids=["in order", "by index"])
def test_updates_in_a_graph(indices: list[int] | None, time: tuple[int, ...]) -> None:
    """Captured once, replayed, equal to the same steps made one by one."""
    from mamba_kernels import ops

    rows = None if indices is None else torch.tensor(indices, device="cuda")
    pool = 2 if indices is None else 4
    state, x = torch.zeros(pool, 8, 4, device="cuda"), torch.randn(2, 8, *time, device="cuda")
    conv_state, weight = torch.zeros(pool, 8, 3, device="cuda"), torch.randn(8, 4, device="cuda")
    A, B = -torch.rand(8, 4, device="cuda"), torch.randn(2, 4, *time, device="cuda")

    def step(h: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        by = {"state_batch_indices": rows}
        u = ops.causal_conv1d_update(x, past, weight, activation="silu", **by)
        return ops.selective_state_update(h, u, u, A, B, B, dt_softplus=True, **by)

    apart = [state.clone(), conv_state.clone()]
    expected = [step(*apart).clone() for _ in range(4)][-1]
    warm = [state.clone(), conv_state.clone()]
    step(*warm)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step(state, conv_state)
    state.zero_()
    conv_state.zero_()
    for _ in range(4):
        graph.replay()
    torch.testing.assert_close(out, expected, rtol=0, atol=0)


def test_offsets_beyond_32_bits() -> None:
    """A view whose channels lie 2^30 elements apart: the third is out of the reach of int32."""
    from mamba_kernels.backends.triton import selective_scan as module

    apart = 1 << 30
    if torch.cuda.mem_get_info()[0] < 4 * apart * 2:
        pytest.skip("needs 8 GB of free GPU memory")
    u = torch.randn(1, 4, 4, device="cuda").bfloat16()
    far = torch.empty(3 * apart + 4, device="cuda", dtype=u.dtype).as_strided(
        (1, 4, 4), (0, apart, 1)
    )
    far.copy_(u)
    A, B = -torch.rand(4, 2, device="cuda"), torch.randn(1, 2, 4, device="cuda")
    rest = (u, A, B, B, None, None, None, None, True, None, None, False)
    assert torch.equal(module.forward(far, *rest)[0], module.forward(u, *rest)[0])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_sizes_of_a_model(dtype: str) -> None:
    """Two thousand steps of a wide layer against the eager backend in float64."""
    from mamba_kernels.backends.eager import selective_scan as eager
    from mamba_kernels.backends.triton import selective_scan as module

    d, n, length = 512, 16, 2048
    cuda = {"device": "cuda", "dtype": DTYPES[dtype]}
    u, delta, z = torch.randn(1, d, length, **cuda), torch.randn(1, d, length, **cuda) - 4, None
    A = -torch.arange(1, n + 1, device="cuda").float().expand(d, n)
    B, C = torch.randn(1, n, length, **cuda), torch.randn(1, n, length, **cuda)
    given = [u, delta, A, B, C, torch.ones(d, device="cuda"), z, None, None, True, None, None]
    exact = [v.double() if isinstance(v, torch.Tensor) else v for v in given]
    out, last, saved = module.forward(*given, True)
    expected, expected_last, kept = eager.forward(*exact, True)
    dout = torch.randn_like(out)
    grads = module.backward(dout, None, saved, [True] * 9, *given)
    expected_grads = eager.backward(dout.double(), None, kept, [True] * 9, *exact)
    rounding = torch.finfo(DTYPES[dtype]).eps
    for a, b in zip([out, last, *grads], [expected, expected_last, *expected_grads], strict=True):
        if b is not None:
            error = (a.double() - b).square().mean().sqrt() / b.square().mean().sqrt()
            assert error < max(1e-4, rounding)
