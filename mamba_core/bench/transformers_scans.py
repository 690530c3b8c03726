"""The scans of Hugging Face transformers, as it computes them without compiled kernels.

Its own functions are called, at the same place in the work as our ops: after the projections and
the convolution, before the output projection. ``inspect.unwrap`` takes off the layer that would
hand the call to mamba_ssm where that is installed, so that the rows mean the same everywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from mamba_core.bench.measure import Contender
from mamba_core.bench.problem import Problem, find_function, peer

_MAX_CELLS = 1e10
"""B D L N times L: the backward of each of the L slices of a (B, D, L, N) tensor fills one of that
size with zeros. This many are about half a minute per call."""


def selective_scan(problem: Problem) -> list[Contender]:
    """``MambaMixer``'s scan: discretised for all steps at once, then a loop over time."""
    found = find("transformers.models.mamba.modeling_mamba", "mamba_selective_scan")
    if isinstance(found, str):
        return [peer(problem, "transformers", found)]

    def scan(u: Tensor, delta: Tensor, **rest: Tensor) -> Tensor:
        return found(u, delta, **rest, delta_softplus=True)

    batch, channels, length = problem.inputs["u"].shape
    cells = batch * channels * length * problem.inputs["A"].shape[1] * length
    too_long = "quadratic in L with gradients: minutes per call at this size"
    skip = too_long if problem.backward and cells > _MAX_CELLS else None
    return [peer(problem, "transformers", scan, skip=skip)]


def ssd(problem: Problem) -> list[Contender]:
    """``Mamba2Mixer``'s chunked scan, with its default chunk and with a small one."""
    found = find("transformers.models.mamba2.modeling_mamba2", "mamba2_chunk_scan")
    if isinstance(found, str):
        return [peer(problem, "transformers", found)]

    def scan(chunk: int) -> Callable[..., Tensor]:
        def call(x: Tensor, dt: Tensor, **rest: Tensor) -> Tensor:
            return found(x, dt, **rest, chunk_size=chunk, dt_softplus=True)

        return call

    return [
        peer(problem, "transformers chunk 256 (its default)", scan(256)),
        peer(problem, "transformers chunk 64", scan(64)),
    ]


def find(module: str, name: str) -> Callable[..., Any] | str:
    """The function without its layer, or why it cannot be had."""
    found = find_function(module, name, "'transformers>=5'")
    return found if isinstance(found, str) else inspect.unwrap(found)
