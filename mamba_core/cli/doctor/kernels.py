"""The scans: who can compute them here, and whether they compute the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mamba_core.cli.doctor.finding import Finding, pip_install
from mamba_registry.suggest import suggest

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
"""float32 against the same inputs in float64, relative to the largest output."""
FORCE = "MAMBA_KERNELS_BACKEND"


def backends() -> Iterator[Finding]:
    """Each backend of the ops: what it computes here, or why not."""
    try:
        import mamba_core.kernel_backends  # noqa: F401
    except Exception as error:
        text = f"mamba_kernels does not import: {str(error) or type(error).__name__}"
        yield Finding("Kernels", "problem", text, pip_install("--force-reinstall mamba-core"))
        return
    names = [str(row["name"]) for row in _rows("cpu")]
    forced = os.environ.get(FORCE)
    if forced and forced not in names:
        text = f"{FORCE}={forced}: no such backend.{suggest(forced, names)}"
        yield Finding("Kernels", "problem", text, f"unset {FORCE}, or one of {', '.join(names)}")
    yield _native_library()
    for device in _devices():
        for row in _rows(device):
            can, reasons = row["ops"], row["reasons"]
            if can:
                text = f"{row['name']} on {device}: {', '.join(map(str, can))}"
                yield Finding("Kernels", "ok", text)
            else:
                why = "; ".join(sorted({str(reason) for reason in reasons.values()}))
                yield Finding("Kernels", "note", f"{row['name']} on {device}: {why}")


def _native_library() -> Finding:
    """The compiled kernels for CPUs: scans are about ten times slower without them."""
    from mamba_kernels.backends.native import library_status

    found, reason = library_status()
    if found is not None:
        return Finding("Kernels", "ok", f"compiled CPU kernels: {found}")
    fix = pip_install("--force-reinstall --no-deps --no-cache-dir mamba-kernels-native")
    return Finding("Kernels", "note", f"no compiled CPU kernels: {reason}", fix)


def self_test() -> Iterator[Finding]:
    """Run small scans with every backend and hold them against float64."""
    try:
        import mamba_kernels.ops  # noqa: F401
    except Exception:
        return  # reported above
    for device in _devices():
        for row in _rows(device):
            for op in row["ops"]:
                if op in CASES:
                    yield _compare(str(row["name"]), op, device)


def _compare(backend: str, op: str, device: str) -> Finding:
    what = f"{backend} {op} on {device}"
    fix = f"export {FORCE}=reference until mamba-core is upgraded, and report this"
    try:
        error = relative_error(backend, op, device)
    except Exception as failure:
        text = f"{what}: {type(failure).__name__}: {failure}"
        return Finding("Kernel self-test", "problem", text, fix)
    if error < TOLERANCE:
        return Finding("Kernel self-test", "ok", f"{what}: off by {error:.1e}")
    text = f"{what}: off by {error:.1e}, allowed {TOLERANCE:.0e}"
    return Finding("Kernel self-test", "problem", text, fix)


def relative_error(backend: str, op: str, device: str) -> float:
    """Return the largest error of one op in float32, relative to the largest output."""
    import torch

    arguments = CASES[op](torch.Generator().manual_seed(0))
    with torch.no_grad(), _forced("reference"):
        expected = _call(op, {k: _to(v, "cpu", torch.float64) for k, v in arguments.items()})
    with torch.no_grad(), _forced(backend):
        value = _call(op, {k: _to(v, device, torch.float32) for k, v in arguments.items()})
    return float((value.cpu().double() - expected).abs().max() / expected.abs().max())


def _call(op: str, arguments: dict[str, Any]) -> torch.Tensor:
    from mamba_kernels import ops

    return getattr(ops, op)(**arguments)


def _to(value: Any, device: str, dtype: torch.dtype) -> Any:
    return value.to(device, dtype) if hasattr(value, "to") else value


def _selective_scan(generator: torch.Generator) -> dict[str, Any]:
    """B=2, D=4, L=37, N=3: an odd length, in one chunk and a part of it."""
    import torch

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "u": normal(2, 4, 37),
        "delta": normal(2, 4, 37),
        "A": -normal(4, 3).exp(),
        "B": normal(2, 3, 37),
        "C": normal(2, 3, 37),
        "D": normal(4),
        "z": normal(2, 4, 37),
        "delta_softplus": True,
    }


def _ssd(generator: torch.Generator) -> dict[str, Any]:
    """B=2, L=37, H=2, P=4, N=3."""
    import torch

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return {
        "x": normal(2, 37, 2, 4),
        "dt": normal(2, 37, 2),
        "A": -normal(2).exp(),
        "B": normal(2, 37, 1, 3),
        "C": normal(2, 37, 1, 3),
        "chunk_size": 16,
        "D": normal(2),
        "dt_softplus": True,
    }


def _causal_conv1d(generator: torch.Generator) -> dict[str, Any]:
    """B=2, D=4, L=37, four taps."""
    import torch

    return {
        "x": torch.randn(2, 4, 37, generator=generator),
        "weight": torch.randn(4, 4, generator=generator),
        "bias": torch.randn(4, generator=generator),
        "activation": "silu",
    }


CASES = {"selective_scan": _selective_scan, "ssd": _ssd, "causal_conv1d": _causal_conv1d}


def _rows(device: str) -> list[dict[str, Any]]:
    from mamba_kernels import ops

    return ops.backends(device)


def _devices() -> list[str]:
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


@contextmanager
def _forced(backend: str) -> Iterator[None]:
    before = os.environ.get(FORCE)
    os.environ[FORCE] = backend
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCE]
        else:
            os.environ[FORCE] = before
