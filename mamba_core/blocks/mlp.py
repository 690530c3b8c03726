"""The gated MLP that stands between mixers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.config import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLPConfig:
    """Width of a :class:`GatedMLP`."""

    d_intermediate: Annotated[int, Field(ge=1)] | None = None
    """Hidden channels; None is 8/3 of ``d_model``, rounded up to ``multiple_of``."""
    multiple_of: Annotated[int, Field(ge=1)] = 64
    """Granularity of the default width."""


class GatedMLP(nn.Module):
    """``fc2(y * silu(gate))`` with ``y, gate = fc1(x)`` (SwiGLU, Shazeer 2002.05202).

    ``(..., d_model) -> (..., d_model)``, per token. Keys as in ``mamba_ssm``.
    """

    def __init__(self, d_model: int, config: MLPConfig) -> None:
        super().__init__()
        hidden = config.d_intermediate
        if hidden is None:
            step = config.multiple_of
            hidden = -(-int(8 * d_model / 3) // step) * step
        self.fc1 = nn.Linear(d_model, 2 * hidden, bias=False)
        self.fc2 = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself."""
        y, gate = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(y * F.silu(gate))
