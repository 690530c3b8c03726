"""Dense state connection: a layer's state also takes what earlier layers would write.

DenseSSM (He et al., 2403.00818) fuses, in layer l, the values of the m layers before it, gated
by the current input::

    v_l <- RMSNorm(v_l + sum_{i=1..m} silu(g_i(u)) * v_{l-i})

with ``v_{l-i}`` the value before its own fusion and ``g`` a two-layer bottleneck. Their released
code has the RetNet form; here v is what a Mamba scan writes into its state (x, and B in
Mamba-2), so training stays parallel in time and decoding keeps its constant state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseConnection(nn.Module):
    """Fuse one layer's written values with those of up to ``depth`` layers before it.

    :param d_model: channels of the layer's input u.
    :param width: channels that are written.
    :param depth: m, how many earlier layers take part (fewer at the start of the stack).
    """

    def __init__(self, d_model: int, width: int, depth: int) -> None:
        super().__init__()
        hidden = max(d_model // 4, 8)
        self.gates = nn.ModuleList(
            nn.Sequential(
                nn.Linear(d_model, hidden, bias=False),
                nn.SiLU(),
                nn.Linear(hidden, width, bias=False),
            )
            for _ in range(depth)
        )
        self.norm = nn.RMSNorm(width, eps=1e-5)

    def forward(self, u: Tensor, written: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        """Return the fused values.

        :param u: the layer's normed input, ``(B, L, d_model)``.
        :param written: ``(B, L, width)``.
        :param earlier: values of the layers before, nearest first, each ``(B, L, width)``.
        """
        gated = [F.silu(gate(u)) * value for gate, value in zip(self.gates, earlier, strict=False)]
        return self.norm(written + torch.stack(gated).sum(0)) if gated else self.norm(written)


class History:
    """The written values of the layers already passed in one forward, nearest first."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.values: tuple[Tensor, ...] = ()

    def connector(self, connection: DenseConnection) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the next layer's ``(u, written) -> fused``.

        It holds the values as they are now: gradient checkpointing runs a layer a second time
        when later layers have already added theirs.
        """
        earlier = self.values

        def connect(u: Tensor, written: Tensor) -> Tensor:
            self.values = (written, *earlier)[: self.depth]
            return connection(u, written, earlier)

        return connect
