"""Cases and comparisons that the tests in the interpreter and those on a GPU share.

Everything is compared with the float64 reference. In float32 by the ratio of root mean squares; in
half precision by the rule of flash-attention's tests: the error may be twice that of the same
equations run by plain PyTorch in that dtype.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

REFERENCES = "mamba_kernels.backends.reference"


def order_of(length: int, paths: int, edges: list[int] | None = None) -> Tensor:
    """Random orders that keep every sequence in its place."""
    edges = edges or [0, length]
    parts = [
        torch.cat([a + torch.randperm(b - a) for a, b in itertools.pairwise(edges)])
        for _ in range(paths)
    ]
    return torch.stack(parts)


# name -> what differs from the defaults of the maker below
CASES: dict[str, dict[str, dict[str, Any]]] = {
    "selective_scan": {
        "all": {},
        "bare": {"z": False, "D": False, "bias": False, "state": False, "softplus": False},
        "whole blocks of time": {"batch": 1, "length": 80, "width": 33, "n": 16},
        "channels innermost": {"length": 16, "innermost": True},
        "groups": {"width": 6, "groups": 3, "n": 5},
        "groups of B only": {"width": 6, "groups": 2, "C_groups": 1},
        "paths": {"paths": 2},
        "paths of their own": {"paths": 2, "shared": False, "width": 4, "groups": 2},
        "packed": {"edges": [0, 4, 4, 5, 11]},
        "packed paths": {"edges": [0, 4, 4, 11], "paths": 2},
        "packed, kept states": {"edges": [0, 70, 70, 135], "width": 2},
        "one step": {"length": 1},
        "N 1": {"n": 1, "length": 5},
        "N 40": {"n": 40, "length": 5, "batch": 1},
        "N 256": {"n": 256, "length": 5, "batch": 1, "width": 3},
    },
    "ssd": {
        "all": {},
        "bare": {"z": False, "D": 0, "bias": False, "state": False, "softplus": False},
        "limits": {"limits": (0.2, 0.5), "D": 1, "length": 9},
        "groups of B only": {"groups": 2, "C_groups": 1, "length": 9},
        "more heads than a program takes": {"heads": 6, "groups": 1, "length": 9},
        "paths": {"paths": 2, "length": 40, "heads": 2},
        "paths of their own": {"paths": 2, "shared": False, "D": 3, "length": 9},
        "packed": {"edges": [0, 1, 33, 33, 40]},
        "packed paths": {"edges": [0, 4, 4, 40], "paths": 2, "heads": 2},
        "segments": {"segments": True},
        "odd sizes": {"p": 19, "n": 40, "length": 9},
        "N 256": {"n": 256, "p": 64, "heads": 1, "groups": 1, "batch": 1, "length": 9},
    },
    "causal_conv1d": {
        "all": {},
        "bare": {"activation": "", "bias": False, "state": False},
        "width 2": {"taps": 2, "length": 1},
        "width 8, shorter than it": {"taps": 8, "length": 5},
        "channels innermost": {"innermost": True, "width": 70, "length": 33},
        "paths": {"paths": 3},
        "paths of their own": {"paths": 2, "shared": False},
        "packed": {"edges": [0, 2, 2, 3, 20]},
        "packed paths": {"edges": [0, 4, 4, 20], "paths": 2},
        "segments": {"segments": True},
        "width 1": {"taps": 1, "state": False},
    },
    "rms_norm_gated": {
        "all": {},
        "one group": {"group": 24},
        "gate last": {"before": True},
        "bare": {"z": False, "bias": False},
        "many rows": {"shape": (300, 8), "group": 8},
        "a vector": {"shape": (6,), "group": 3},
    },
}


def _tokens(*shape: int, innermost: bool = False) -> Tensor:
    if not innermost:
        return torch.randn(shape)
    *outer, channels, length = shape
    return torch.randn(*outer, length, channels).transpose(-1, -2)


def scan_args(
    *, batch: int = 2, width: int = 5, length: int = 11, n: int = 3, groups: int = 0,
    C_groups: int | None = None, paths: int = 0, shared: bool = True,
    edges: list[int] | None = None, z: bool = True, D: bool = True, bias: bool = True,
    state: bool = True, softplus: bool = True, innermost: bool = False,
) -> list[Any]:  # fmt: skip
    if edges:
        batch, length = 1, edges[-1]
    k = (paths,) if paths else ()
    rows = len(edges) - 1 if edges else batch
    C_groups = groups if C_groups is None else C_groups

    def by_state(count: int) -> Tensor:
        return torch.randn(batch, *k, *((count,) if groups else ()), n, length)

    own = () if shared else k
    u = _tokens(batch, *own, width, length, innermost=innermost)
    return [
        u, _tokens(batch, *k, width, length, innermost=innermost) / 2 - 1,
        -torch.rand(*k, width, n) - 0.1, by_state(groups), by_state(C_groups),
        torch.randn(*k, width) if D else None, torch.randn_like(u) if z else None,
        torch.randn(*k, width) if bias else None,
        torch.randn(rows, *k, width, n) if state else None,
        softplus, order_of(length, paths, edges) if paths else None,
        torch.tensor(edges) if edges else None,
    ]  # fmt: skip


def ssd_args(
    *, batch: int = 2, heads: int = 4, p: int = 5, length: int = 40, n: int = 3, groups: int = 2,
    C_groups: int | None = None, paths: int = 0, shared: bool = True,
    edges: list[int] | None = None, segments: bool = False, z: bool = True, D: int = 2,
    bias: bool = True, state: bool = True, softplus: bool = True,
    limits: tuple[float, float] = (0.0, math.inf),
) -> list[Any]:  # fmt: skip
    if edges:
        batch, length = 1, edges[-1]
    k = (paths,) if paths else ()
    rows = len(edges) - 1 if edges else batch
    skip = [None, (heads,), (heads, p), (*k, heads, p)][D]
    x = torch.randn(batch, *(() if shared else k), length, heads, p)
    seq_idx = None
    if segments:  # the numbers of a row may come again
        seq_idx = torch.stack([torch.arange(length) // 17 % 2, torch.arange(length) // 33]).int()
    return [
        x, torch.randn(batch, *k, length, heads) / 2 - 1, -torch.rand(*k, heads) - 0.1,
        torch.randn(batch, *k, length, groups, n),
        torch.randn(batch, *k, length, groups if C_groups is None else C_groups, n),
        torch.randn(skip) if skip else None, torch.randn_like(x) if z else None,
        torch.randn(*k, heads) if bias else None,
        torch.randn(rows, *k, heads, p, n) if state else None,
        64, softplus, *limits, order_of(length, paths, edges) if paths else None, seq_idx,
        torch.tensor(edges) if edges else None,
    ]  # fmt: skip


def conv_args(
    *, batch: int = 2, width: int = 5, length: int = 20, taps: int = 4, paths: int = 0,
    shared: bool = True, edges: list[int] | None = None, segments: bool = False,
    activation: str = "silu", bias: bool = True, state: bool = True, innermost: bool = False,
) -> list[Any]:  # fmt: skip
    if edges:
        batch, length = 1, edges[-1]
    k = (paths,) if paths else ()
    rows = len(edges) - 1 if edges else batch
    seq_idx = torch.arange(length).div(7).floor().int().expand(batch, -1) if segments else None
    return [
        _tokens(batch, *(() if shared else k), width, length, innermost=innermost),
        torch.randn(*k, width, taps), torch.randn(*k, width) if bias else None,
        torch.randn(rows, *k, width, taps - 1) if state else None,
        activation, order_of(length, paths, edges) if paths else None, seq_idx,
        torch.tensor(edges) if edges else None,
    ]  # fmt: skip


def norm_args(
    *, shape: tuple[int, ...] = (2, 3, 24), group: int = 6, before: bool = False, z: bool = True,
    bias: bool = True,
) -> list[Any]:  # fmt: skip
    width = shape[-1]
    return [
        torch.randn(shape), torch.randn(width), torch.randn(width) if bias else None,
        torch.randn(shape) if z else None, 1e-5, group, before,
    ]  # fmt: skip


# scans in segments of so many steps
SEGMENTS: dict[str, tuple[int, dict[str, Any]]] = {
    "gate, groups": (8, {"length": 19, "width": 4, "groups": 2, "batch": 1}),
    "wide accesses": (16, {"length": 48, "width": 3, "batch": 1, "n": 5}),
    "packed paths": (8, {"edges": [0, 3, 3, 20, 21], "paths": 2, "width": 3}),
    "bare, N 40": (
        8,
        {"length": 17, "n": 40, "batch": 1, "width": 3, "z": False, "state": False},
    ),
    "one is enough": (24, {"length": 9, "batch": 1, "softplus": False}),
}

MAKERS: dict[str, tuple[Callable[..., list[Any]], int, tuple[int, ...]]] = {
    # maker, count of differentiable tensors, and which of them have the dtype of the tokens
    "selective_scan": (scan_args, 9, (0, 1, 3, 4, 6)),
    "ssd": (ssd_args, 9, (0, 1, 3, 4, 6)),
    "causal_conv1d": (conv_args, 4, (0,)),
    "rms_norm_gated": (norm_args, 4, (0, 3)),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes ``op`` and ``case`` runs for all of :data:`CASES`, alike ``segments``."""
    if "case" in metafunc.fixturenames:
        pairs = [(op, case) for op, cases in CASES.items() for case in cases]
        metafunc.parametrize(("op", "case"), pairs, ids=[f"{op}: {case}" for op, case in pairs])
    if "segments" in metafunc.fixturenames:
        metafunc.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS)


def rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt()) if x.numel() else 0.0


def _run(
    module: Any, args: list[Any], grads: tuple[Tensor | None, Tensor | None], count: int
) -> list[Tensor | None]:
    out, last, saved = module.forward(*args, True)
    needs = [arg is not None for arg in args[:count]]
    results = [out, last, *module.backward(*grads, saved, needs, *args)]
    return [r if r is None else r.detach().cpu() for r in results]


def _cast(args: list[Any], dtype: torch.dtype, which: range | tuple[int, ...]) -> list[Any]:
    return [a if a is None or i not in which else a.to(dtype) for i, a in enumerate(args)]


def compare(
    op: str, sizes: dict[str, Any], device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values, states and gradients of the Triton kernels against the reference."""
    maker, count, tokens = MAKERS[op]
    args = _cast(maker(**sizes), dtype, tokens)
    module = importlib.import_module(f"mamba_kernels.backends.triton.{op}")
    reference = importlib.import_module(f"{REFERENCES}.{op}")
    exact_args = _cast(args, torch.float64, range(count))
    with torch.no_grad():
        shapes = reference.forward(*exact_args, True)[:2]
    dout = torch.randn(shapes[0].shape).to(dtype)
    dlast = torch.randn(shapes[1].shape) if shapes[1].dim() > 1 else None
    exact_grads = (dout.double(), None if dlast is None else dlast.double())
    exact = _run(reference, exact_args, exact_grads, count)

    def here(x: Any) -> Any:
        return x.to(device) if isinstance(x, Tensor) else x

    found = _run(module, [here(a) for a in args], (here(dout), here(dlast)), count)
    plain: list[Any] = [None] * len(exact)
    if dtype != torch.float32:
        monkeypatch.setattr(reference, "working_dtype", lambda *_: dtype)
        plain = _run(
            reference, _cast(args, dtype, range(count)),
            (dout, None if dlast is None else dlast.to(dtype)), count,
        )  # fmt: skip
        monkeypatch.undo()
    for i, (a, b, c) in enumerate(zip(found, exact, plain, strict=True)):
        if b is None or (i == 1 and b.dim() <= 1):
            continue
        assert a is not None, f"{i}: no gradient"
        assert a.shape == b.shape, f"{i}: shape {tuple(a.shape)}, expected {tuple(b.shape)}"
        error, scale = rms(a.double() - b), rms(b)
        bound = (1e-5 if i < 2 else 1e-4) * scale + 1e-7
        if c is not None:
            bound += 2 * rms(c.double() - b)
        assert error <= bound, f"{i}: error {error:.1e}, allowed {bound:.1e}, scale {scale:.1e}"


@pytest.fixture(name="compare")
def _compare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``compare(op, case or what differs from its defaults, device, dtype)``."""

    def run(op: str, case: str | dict[str, Any], device: str, dtype: torch.dtype) -> None:
        sizes = CASES[op][case] if isinstance(case, str) else case
        compare(op, sizes, device, dtype, monkeypatch)

    return run


@pytest.fixture(name="args")
def _args() -> Callable[..., list[Any]]:
    """Arguments of an op's forward, without ``keep``: ``args(op, **what differs)``."""
    return lambda op, **given: MAKERS[op][0](**given)


@pytest.fixture(name="cut")
def _cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``cut(span)``: scans are in segments of so many steps, and keep a state every eight."""
    from mamba_kernels.backends.triton import selective_scan

    def run(span: int) -> None:
        monkeypatch.setattr(selective_scan, "EVERY", 8)
        monkeypatch.setattr(selective_scan, "span_of", lambda *_: span)

    return run


@pytest.fixture(name="poisoned")
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Memory that nobody has written is NaN."""
    original = Tensor.new_empty

    def new_empty(self: Tensor, *args: Any, **given: Any) -> Tensor:
        fresh = original(self, *args, **given)
        return fresh.fill_(float("nan")) if fresh.is_floating_point() else fresh

    monkeypatch.setattr(Tensor, "new_empty", new_empty)
    yield
    monkeypatch.undo()


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(x) for x in importlib.metadata.version(name).split(".")[:2])


@pytest.fixture(autouse=True)
def _usable() -> None:
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    if _version("triton") < (3, 7) and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        pytest.skip("the interpreter of triton 3.6 needs numpy < 2.4")
