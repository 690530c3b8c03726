"""The parallel scan of mambapy, where it is installed (``pip install mambapy``).

Its ``MambaBlock.selective_scan`` computes from a step size that is ready to use; softplus, bias and
gate are put around it here, as its block does.
"""

from __future__ import annotations

import sys

import torch.nn.functional as F
from torch import Tensor

from mamba_core.bench.measure import Contender
from mamba_core.bench.problem import Problem, peer


def selective_scan(problem: Problem) -> list[Contender]:
    """Discretised for all steps at once, then a parallel scan over padded powers of two."""
    try:
        from mambapy.mamba import MambaBlock
    except ImportError as error:
        reason = f"{error}: {sys.executable} -m pip install mambapy"
        return [peer(problem, "mambapy", reason)]

    def scan(
        u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor,
        delta_bias: Tensor,
    ) -> Tensor:  # fmt: skip
        steps = F.softplus(delta.transpose(1, 2) + delta_bias)
        tokens, B, C = (x.transpose(1, 2) for x in (u, B, C))
        y = MambaBlock.selective_scan(None, tokens, steps, A, B, C, D)
        return y.transpose(1, 2) * F.silu(z)

    return [peer(problem, "mambapy", scan)]
