"""HSTU (Zhai et al., 2402.17152): attention without softmax, gated, with relative positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import PaddedNetwork

_EPS = 1e-6
_STD = 0.02


class HSTUBlock(nn.Module):
    """``x + W(norm(silu(q k' + bias) v) * u)`` with u, v, q, k from one map and SiLU."""

    def __init__(self, d_model: int, num_heads: int, max_length: int, dropout: float) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"num_heads = {num_heads} does not divide d_model = {d_model}")
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(d_model, eps=_EPS)
        self.in_proj = nn.Linear(d_model, 4 * d_model, bias=False)
        self.distance = nn.Parameter(torch.zeros(num_heads, max_length))
        self.out_norm = nn.LayerNorm(d_model, eps=_EPS)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, length, d_model) -> (batch, length, d_model)``."""
        length = x.shape[1]
        parts = F.silu(self.in_proj(self.norm(x))).chunk(4, dim=-1)
        u = parts[0]
        v, q, k = (p.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for p in parts[1:])
        steps = torch.arange(length, device=x.device)
        gap = steps[:, None] - steps
        scores = q @ k.transpose(-1, -2) + self.distance[:, gap.clamp(min=0)]
        # divided by the longest length, so that a prediction does not depend on its batch mates
        weights = F.silu(scores).masked_fill(gap < 0, 0.0) / self.distance.shape[1]
        y = (weights @ v).transpose(1, 2).flatten(2)
        return x + self.out_proj(self.dropout(self.out_norm(y) * u))


class HSTUNetwork(PaddedNetwork):
    """Learned positions and blocks."""

    def __init__(self, d_model: int, config: C.HSTU) -> None:
        super().__init__()
        self.d_model, self.max_length = d_model, config.max_length
        self.positions = nn.Embedding(config.max_length, d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            HSTUBlock(d_model, config.num_heads, config.max_length, config.dropout)
            for _ in range(config.layers)
        )
        nn.init.normal_(self.positions.weight, std=_STD)

    def encode(self, rows: Tensor, times: Tensor) -> Tensor:
        """See :meth:`PaddedNetwork.encode`."""
        x = self.dropout(rows + self.positions.weight[: rows.shape[1]])
        for block in self.blocks:
            x = block(x)
        return x
