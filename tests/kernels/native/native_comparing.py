"""One op on one backend against float64: values, states and gradients, with errors in numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mamba_kernels import ops

STATES = {
    "selective_scan": "return_last_state",
    "ssd": "return_final_states",
    "causal_conv1d": "return_final_states",
}


def run(
    op: str, backend: str, given: dict[str, Any], dtype: torch.dtype, seed: int = 1
) -> dict[str, Tensor]:
    """Outputs and all gradients of ``op``, for cotangents that depend on ``seed`` only.

    :param given: arguments by name; floating point tensors are converted to ``dtype`` with their
        strides kept, and differentiated.
    """
    leaves: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            value = value.detach().to(dtype).requires_grad_()
        leaves[name] = value
    options = {STATES[op]: True} if op in STATES else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAMBA_KERNELS_BACKEND", backend)
        result = getattr(ops, op)(**leaves, **options)
        outputs = result if isinstance(result, tuple) else (result,)
        generator = torch.Generator().manual_seed(seed)
        cotangents = [
            torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype)
            for o in outputs
        ]
        wanted = {n: v for n, v in leaves.items() if isinstance(v, Tensor) and v.requires_grad}
        grads = torch.autograd.grad(outputs, list(wanted.values()), cotangents, allow_unused=True)
    found = dict(zip(("out", "last"), outputs, strict=False))
    found |= {
        f"d{n}": torch.zeros_like(wanted[n]) if g is None else g
        for n, g in zip(wanted, grads, strict=True)
    }
    return {name: value.detach() for name, value in found.items()}


def distance(value: Tensor, expected: Tensor) -> float:
    """RMS error relative to the RMS of what is expected."""
    scale = expected.double().square().mean().sqrt().clamp_min(1e-30)
    return float((value.double() - expected.double()).square().mean().sqrt() / scale)


def assert_as_exact_as_torch(
    op: str,
    given: dict[str, Any],
    dtype: torch.dtype = torch.float32,
    *,
    factor: float = 3.0,
    floor: float = 1e-6,
) -> None:
    """Native errs at most ``factor`` times as much as eager does, both in ``dtype``, both against
    the reference in float64; ``floor`` is what rounding alone may cost.
    """
    rounded = {
        n: v.to(dtype).double() if isinstance(v, Tensor) and v.is_floating_point() else v
        for n, v in given.items()
    }
    expected = run(op, "reference", rounded, torch.float64)
    plain = run(op, "eager", given, dtype)
    found = run(op, "native", given, dtype)
    wrong = {}
    for name, value in expected.items():
        if value.numel() == 0:
            continue
        assert found[name].shape == value.shape
        assert found[name].dtype == plain[name].dtype
        error, allowed = distance(found[name], value), distance(plain[name], value)
        if not error <= factor * allowed + floor:
            wrong[name] = (error, allowed)
    assert not wrong, wrong
