"""A path per group of channels.

GroupMamba (2407.13772): channels are cut into as many groups as an order has paths, group g is
read along path g alone; the groups are joined, weighed by a gate computed from their means, and
projected. Video Mamba Suite's DBM (2403.09626): two halves, one forward, one backward, through
one shared mixer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mamba_core import scan_orders
from mamba_core.mixers.base import Mixer
from mamba_core.mixers.choice import MixerChoice, build_mixer
from mamba_core.mixers.paths import scan_each


class GroupScan(Mixer):
    """K groups of channels, each along its own path, ``(B, L, d_model)`` -> the same shape.

    :param mixer: what reads each group, with ``d_model / K`` channels.
    :param scan_order: an order of the shape with K paths that each read all tokens.
    :param share: ``none``: a mixer per group (GroupMamba); ``all``: one for all (DBM).
    :param gate: weigh the groups by a squeeze-and-excitation over their means.
    """

    causal = False
    takes_shape = True

    def __init__(
        self,
        d_model: int,
        mixer: MixerChoice = MixerChoice("mamba1"),  # noqa: B008  (immutable)
        scan_order: str = "cross",
        share: Literal["none", "all"] = "none",
        gate: bool = True,
    ) -> None:
        super().__init__()
        order = scan_orders.get(scan_order)
        if not isinstance(order, scan_orders.NamedOrder) or order.cover != "all" or order.folded:
            raise ValueError(f"scan_order={scan_order!r}: paths that each read the whole grid")
        if d_model % order.paths:
            raise ValueError(
                f"d_model={d_model} cannot be cut into {order.paths} groups, one per "
                f"path of {scan_order!r}"
            )
        self.order, self.d_model = order, d_model
        width = d_model // order.paths
        self.mixers = nn.ModuleList(
            build_mixer(mixer, width) for _ in range(order.paths if share == "none" else 1)
        )
        self.gate = (
            nn.Sequential(
                nn.Linear(d_model, max(d_model // 4, 1)),
                nn.ReLU(),
                nn.Linear(max(d_model // 4, 1), d_model),
                nn.Sigmoid(),
            )
            if gate
            else None
        )
        self.norm = nn.LayerNorm(d_model)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self,
        x: Tensor,
        *,
        shape: Sequence[int] | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """Mix along every path.

        :param x: ``(B, L, d_model)``; packed ``(1, sum of L, d_model)`` for orders of any shape.
        :param shape: the grid; ``(L,)`` when None.
        """
        if cu_seqlens is None:
            order = self.order(shape or (x.shape[1],), device=x.device)
        else:
            order = scan_orders.packed(self.order, cu_seqlens.diff().tolist(), device=x.device)
        readers = [self.mixers[k % len(self.mixers)] for k in range(self.order.paths)]
        groups = scan_each(readers, x.chunk(self.order.paths, dim=-1), order, cu_seqlens)
        y = torch.cat(groups, dim=-1)
        if self.gate is not None:
            y = y * self.gate(_mean(x, cu_seqlens))
        return self.out_proj(self.norm(y))


def _mean(x: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """Mean over each sequence, for each of its tokens."""
    if cu_seqlens is None:
        return x.mean(1, keepdim=True)
    lengths = cu_seqlens.diff()
    sequence = torch.repeat_interleave(lengths)
    total = x.new_zeros(len(lengths), x.shape[-1]).index_add(0, sequence, x[0])
    return (total / lengths.clamp(min=1)[:, None].to(x.dtype))[sequence][None]
