"""Scans of other packages that run on a GPU only, where they are installed.

``mamba_ssm``: the CUDA scan of Mamba-1 and the Triton SSD, this with the chunk that its own layer
asks for. ``fla``: flash-linear-attention's nearest op to SSD, linear attention with one decay per
head and step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from mamba_core.bench.measure import Contender
from mamba_core.bench.problem import Problem, find_function, peer

_CHUNK = 256


def mamba_ssm_selective_scan(problem: Problem) -> list[Contender]:
    """``selective_scan_fn``."""
    module = "mamba_ssm.ops.selective_scan_interface"
    found = _find(problem, module, "selective_scan_fn", "mamba-ssm")
    return [peer(problem, "mamba_ssm", _with(found, delta_softplus=True))]


def mamba_ssm_ssd(problem: Problem) -> list[Contender]:
    """``mamba_chunk_scan_combined``."""
    module = "mamba_ssm.ops.triton.ssd_combined"
    found = _find(problem, module, "mamba_chunk_scan_combined", "mamba-ssm")
    return [peer(problem, "mamba_ssm", _with(found, chunk_size=_CHUNK, dt_softplus=True))]


def fla_ssd(problem: Problem) -> list[Contender]:
    """``chunk_simple_gla``: queries C, keys B, values x dt, log decays A dt.

    What it does not do (softplus, B and C shared by all heads, D) is put around it here and is
    timed with it.
    """
    found = _find(problem, "fla.ops.simple_gla", "chunk_simple_gla", "flash-linear-attention")
    if isinstance(found, str):
        return [peer(problem, "fla", found)]

    def scan(
        x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, dt_bias: Tensor
    ) -> Tensor:
        steps = F.softplus(dt.float() + dt_bias)
        heads = x.shape[2]
        queries, keys = (t.expand(-1, -1, heads, -1).contiguous() for t in (C, B))
        values = (x * steps[..., None]).to(x.dtype)
        y, _ = found(queries, keys, values, steps * A, scale=1.0)
        return (y + x * D[:, None]).to(x.dtype)

    return [peer(problem, "fla", scan)]


def _find(problem: Problem, module: str, name: str, package: str) -> Callable[..., Any] | str:
    """The function, or why it cannot take part."""
    first = next(iter(problem.inputs.values()))
    if first.device.type != "cuda":
        return "runs on a GPU only"
    return find_function(module, name, f"--no-build-isolation {package}")


def _with(found: Callable[..., Any] | str, **options: Any) -> Callable[..., Any] | str:
    """The function with options of its own; a reason stays one."""
    return found if isinstance(found, str) else partial(found, **options)
