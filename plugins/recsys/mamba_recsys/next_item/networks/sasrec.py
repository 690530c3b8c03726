"""SASRec (Kang and McAuley, 1808.09781): causal attention over a window of events."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_recsys.next_item import config as C
from mamba_recsys.next_item.networks.base import PaddedNetwork

_EPS = 1e-8
_STD = 0.02


class SASRecBlock(nn.Module):
    """Pre-norm attention and a feed-forward part, each with a residual."""

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"num_heads = {num_heads} does not divide d_model = {d_model}")
        self.num_heads, self.rate = num_heads, dropout
        self.norm = nn.LayerNorm(d_model, eps=_EPS)
        self.in_proj = nn.Linear(d_model, 3 * d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.norm_2 = nn.LayerNorm(d_model, eps=_EPS)
        self.fc1 = nn.Linear(d_model, d_model)
        self.fc2 = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, length, d_model) -> (batch, length, d_model)``."""
        heads = self.in_proj(self.norm(x)).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
        x = x + self.dropout(self.out_proj(y.transpose(1, 2).flatten(2)))
        hidden = self.dropout(F.relu(self.fc1(self.norm_2(x))))
        return x + self.dropout(self.fc2(hidden))


class SASRecNetwork(PaddedNetwork):
    """Learned positions, counted from the beginning of the window, and blocks."""

    def __init__(self, d_model: int, config: C.SASRec) -> None:
        super().__init__()
        self.d_model, self.max_length = d_model, config.max_length
        self.positions = nn.Embedding(config.max_length, d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            SASRecBlock(d_model, config.num_heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(d_model, eps=_EPS)
        self._init_weights()

    @torch.no_grad()
    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def encode(self, rows: Tensor, times: Tensor) -> Tensor:
        """See :meth:`PaddedNetwork.encode`."""
        x = self.dropout(rows + self.positions.weight[: rows.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
