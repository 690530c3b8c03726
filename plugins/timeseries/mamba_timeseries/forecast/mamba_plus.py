"""Mamba+ of Bi-Mamba+ (Liang et al., 2404.15772): Mamba-1 with a forget gate on its input.

With u the convolved input, y the scan and z the gate::

    out = out_proj(y * silu(z) + u * (1 - sigmoid(z)))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mamba_core.mixers import Mamba1, MixerState
from mamba_core.mixers.base import stacked
from mamba_core.mixers.mamba1 import Mamba1Path
from mamba_kernels import ops


class MambaPlus(Mamba1):
    """The Mamba+ mixer, ``(B, L, d_model) -> (B, L, d_model)``; fields are Mamba-1's.

    Its scan hands u along beside y, ``(..., L, 2 d_inner)``. The convolution is run twice: it is
    a small part of the work, and so the scan stays Mamba-1's own.
    """

    def scan(
        self,
        inputs: Tensor,
        *,
        order: Tensor | None = None,
        paths: Sequence[Mamba1Path] = (),
        cu_seqlens: Tensor | None = None,
        state: MixerState | None = None,
        return_state: bool = False,
    ) -> tuple[Tensor, MixerState | None]:
        """See :meth:`~mamba_core.mixers.base.ScanMixer.scan`."""
        y, after = super().scan(
            inputs,
            order=order,
            paths=paths,
            cu_seqlens=cu_seqlens,
            state=state,
            return_state=return_state,
        )
        every = paths or (self,)
        u: Any = ops.causal_conv1d(
            inputs.transpose(-1, -2),
            stacked(every, lambda path: path.conv1d.weight[:, 0]),
            stacked(every, lambda path: path.conv1d.bias),
            activation="silu",
            order=order,
            cu_seqlens=cu_seqlens,
            initial_states=None if state is None else state.tensors["conv"],
        )
        return torch.cat([y, u.transpose(-1, -2)], dim=-1), after

    def scan_step(self, inputs: Tensor, state: MixerState) -> tuple[Tensor, MixerState]:
        """See :meth:`~mamba_core.mixers.base.ScanMixer.scan_step`."""
        y, after = self.scan(inputs, state=state, return_state=True)
        assert after is not None
        return y, after

    def combine(self, y: Tensor, gate: Tensor) -> Tensor:
        """Gate scan and input, project: ``(..., 2 d_inner)`` and ``(..., d_inner)``."""
        scanned, u = y.chunk(2, dim=-1)
        return self.out_proj(scanned * F.silu(gate) + u * torch.sigmoid(-gate))
