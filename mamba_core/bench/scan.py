"""The selective scan of Mamba-1: forward, forward + backward, and its growth with length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from mamba_core.bench.clock import clock_of
from mamba_core.bench.gpu_peers import mamba_ssm_selective_scan
from mamba_core.bench.mambapy_scan import selective_scan as mambapy_selective_scan
from mamba_core.bench.measure import Case, Contender
from mamba_core.bench.problem import (
    BOUNDS,
    Problem,
    chosen_peers,
    exact_backend,
    our_contenders,
    placed,
)
from mamba_core.bench.transformers_scans import selective_scan as transformers_selective_scan
from mamba_core.config import STRICT
from mamba_kernels import ops

Count = Annotated[int, Field(ge=1)]
Dtype = Literal["float32", "float16", "bfloat16"]
PEERS: Mapping[str, Callable[[Problem], Sequence[Contender]]] = {
    "transformers": transformers_selective_scan,
    "mambapy": mambapy_selective_scan,
    "mamba_ssm": mamba_ssm_selective_scan,
}
DEVICES = ("cpu", "cuda")
TOKENS = ("u", "delta", "B", "C", "z")
"""Inputs that have the dtype of the tokens."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Sizes; with softplus, delta_bias, D and the gate z."""

    batch: Count = 2
    """Sequences, B."""
    channels: Count = 1536
    """Channels, D."""
    length: Count = 2048
    """Tokens, L."""
    state: Count = 16
    """State per channel, N."""
    dtype: Dtype = "float32"
    """Of the tokens; A, D and biases are float32."""
    curve_lengths: tuple[Count, ...] = (256, 512, 1024, 2048, 4096, 8192)
    """Lengths of the curve; [] for none."""
    curve_channels: Count = 64
    """Channels of the curve, which has one sequence."""


def cases(config: Config, against: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Forward; forward + backward; forward + backward of growing length."""
    kind = getattr(torch, config.dtype)
    size = {"B": config.batch, "D": config.channels, "L": config.length, "N": config.state}
    for backward in (False, True):
        name = "forward+backward" if backward else "forward"
        yield case(name, size, against, backward=backward, dtype=kind, device=device)
    for length in config.curve_lengths:
        size = {"B": 1, "D": config.curve_channels, "L": length, "N": config.state}
        name = "forward+backward by length"
        yield case(name, size, against, backward=True, dtype=kind, device=device)


def case(
    name: str,
    size: Mapping[str, int],
    against: Sequence[str],
    *,
    backward: bool,
    dtype: torch.dtype,
    device: torch.device,
    exact_by: str | None = None,
) -> Case:
    """One size; ``exact_by`` as in :class:`Problem`, None what suits the device."""
    problem = Problem(
        op="selective_scan",
        function=ops.selective_scan,
        inputs=placed(inputs(**size), TOKENS, dtype, device),
        options={"delta_softplus": True},
        channels={"u": 1, "delta": 1, "A": 0, "D": 0, "z": 1, "delta_bias": 0},
        out_channels=1,
        cotangent=_cotangent(size).to(device, dtype),
        backward=backward,
        bound=BOUNDS[dtype],
        exact_by=exact_by or exact_backend(device),
    )
    contenders = (*our_contenders(problem), *chosen_peers(PEERS, against, problem))
    return Case(name, size, contenders, problem.judge, problem.bound, clock_of(device))


def inputs(B: int, D: int, L: int, N: int) -> dict[str, Tensor]:
    """Inputs as in a fresh Mamba layer: A = -(1..N), step sizes from 0.001 to 0.1.

    :returns: float32 tensors by the op's argument names.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    steps = torch.exp(torch.empty(D).uniform_(-6.9, -2.3, generator=generator))
    return {
        "u": normal(B, D, L),
        "delta": normal(B, D, L) * 0.5,
        "A": -torch.arange(1.0, N + 1).repeat(D, 1),
        "B": normal(B, N, L),
        "C": normal(B, N, L),
        "D": torch.ones(D),
        "z": normal(B, D, L),
        "delta_bias": steps + torch.log(-torch.expm1(-steps)),  # softplus of it is steps
    }


def _cotangent(size: Mapping[str, int]) -> Tensor:
    shape = [size[name] for name in "BDL"]
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
