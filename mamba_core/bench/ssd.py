"""The scan of Mamba-2 (SSD): forward, and forward + backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from mamba_core.bench.clock import clock_of
from mamba_core.bench.gpu_peers import fla_ssd, mamba_ssm_ssd
from mamba_core.bench.measure import Case, Contender
from mamba_core.bench.problem import (
    BOUNDS,
    Problem,
    chosen_peers,
    exact_backend,
    our_contenders,
    placed,
)
from mamba_core.bench.scan import Dtype
from mamba_core.bench.transformers_scans import ssd as transformers_ssd
from mamba_core.config import STRICT
from mamba_kernels import ops

Count = Annotated[int, Field(ge=1)]
PEERS: Mapping[str, Callable[[Problem], Sequence[Contender]]] = {
    "transformers": transformers_ssd,
    "mamba_ssm": mamba_ssm_ssd,
    "fla": fla_ssd,
}
DEVICES = ("cpu", "cuda")
TOKENS = ("x", "dt", "B", "C")
"""Inputs that have the dtype of the tokens."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Config:
    """Sizes; one group of B and C, with softplus, dt_bias and D."""

    batch: Count = 1
    """Sequences, B."""
    length: Count = 2048
    """Tokens, L."""
    heads: Count = 24
    """Heads, H."""
    headdim: Count = 64
    """Channels of a head, P."""
    state: Count = 128
    """State per channel, N."""
    dtype: Dtype = "float32"
    """Of the tokens; A, D and dt_bias are float32."""


def cases(config: Config, against: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Forward; forward + backward."""
    size = {
        "B": config.batch,
        "L": config.length,
        "H": config.heads,
        "P": config.headdim,
        "N": config.state,
    }
    dtype = getattr(torch, config.dtype)
    for name, backward in (("forward", False), ("forward+backward", True)):
        problem = Problem(
            op="ssd",
            function=ops.ssd,
            inputs=placed(inputs(**size), TOKENS, dtype, device),
            options={"chunk_size": 256, "dt_softplus": True},
            channels={"x": 2, "dt": 2, "A": 0, "D": 0, "dt_bias": 0},
            out_channels=2,
            cotangent=_cotangent(size).to(device, dtype),
            backward=backward,
            bound=BOUNDS[dtype],
            exact_by=exact_backend(device),
        )
        contenders = (*our_contenders(problem), *chosen_peers(PEERS, against, problem))
        yield Case(name, size, contenders, problem.judge, problem.bound, clock_of(device))


def inputs(B: int, L: int, H: int, P: int, N: int) -> dict[str, Tensor]:
    """Inputs as in a fresh Mamba-2 layer: A from -1 to -16, step sizes from 0.001 to 0.1.

    :returns: float32 tensors by the op's argument names.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    steps = torch.exp(torch.empty(H).uniform_(-6.9, -2.3, generator=generator))
    return {
        "x": normal(B, L, H, P),
        "dt": normal(B, L, H) * 0.5,
        "A": -torch.empty(H).uniform_(1, 16, generator=generator),
        "B": normal(B, L, 1, N),
        "C": normal(B, L, 1, N),
        "D": torch.ones(H),
        "dt_bias": steps + torch.log(-torch.expm1(-steps)),  # softplus of it is steps
    }


def _cotangent(size: Mapping[str, int]) -> Tensor:
    shape = [size[name] for name in "BLHP"]
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))
