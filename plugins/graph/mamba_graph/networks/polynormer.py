"""Polynormer (Deng et al., 2403.01232): gated local attention, then linear global attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GATConv

from mamba_graph.networks.base import GraphNetwork, PackedGraphs
from mamba_graph.networks.config import Polynormer
from mamba_graph.nn.gated_gcn import RowNorm

BETA = 0.9
"""Share of the plain path against the gated one, PyG's default."""
_TINY = 1e-6


class LinearAttention(nn.Module):
    """Polynormer's global attention, linear in the nodes, over packed graphs.

    Query and key are one sigmoid projection. PyG's ``PolynormerAttention`` masks the values of
    padding but not its keys, so that there a graph's result depends on the largest in the batch.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.gate, self.key, self.value, self.out = (
            nn.Linear(channels, channels, bias=bias) for bias in (True, False, False, True)
        )
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, batch: Tensor, graphs: int) -> Tensor:
        """``(nodes, channels)``, the same."""
        key = torch.sigmoid(self.key(x)).unflatten(-1, (self.heads, -1))
        value = self.value(x).unflatten(-1, (self.heads, -1))
        products = torch.einsum("nhd,nhm->nhdm", key, value) if graphs > 1 else None
        if products is None:
            read = torch.einsum("nhd,hdm->nhm", key, torch.einsum("nhd,nhm->hdm", key, value))
            total = key.sum(0).expand_as(key)
        else:
            zeros = products.new_zeros(graphs, *products.shape[1:])
            read = torch.einsum("nhd,nhdm->nhm", key, zeros.index_add(0, batch, products)[batch])
            total = key.new_zeros(graphs, *key.shape[1:]).index_add(0, batch, key)[batch]
        weight = (key * total).sum(-1, keepdim=True)
        attended = self.norm((read / (weight + _TINY)).flatten(1))
        return self.dropout(F.relu(self.out(attended * (self.gate(x) + BETA))))


class PolynormerNetwork(GraphNetwork):
    """See :class:`~mamba_graph.networks.config.Polynormer`.

    PyG's model ends in a log-softmax and trains its local part first; this is its body, both
    parts at once. The sum of the local layers is what the global ones read.
    """

    def __init__(self, config: Polynormer, d_model: int) -> None:
        super().__init__()
        self.config = config
        if d_model % config.heads:
            raise ValueError(f"heads = {config.heads} does not divide d_model = {d_model}")
        size = d_model // config.heads
        count = range(config.local_layers)
        self.gates = nn.ModuleList(nn.Linear(d_model, d_model) for _ in count)
        self.convs = nn.ModuleList(
            GATConv(d_model, size, heads=config.heads, add_self_loops=False, bias=False)
            for _ in count
        )
        self.skips = nn.ModuleList(nn.Linear(d_model, d_model) for _ in count)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in count)
        self.batch_norms = nn.ModuleList(
            RowNorm(d_model) if config.post_bn else nn.Identity() for _ in count
        )
        self.norm = nn.LayerNorm(d_model)
        self.attention = nn.ModuleList(
            LinearAttention(d_model, config.heads, config.dropout)
            for _ in range(config.global_layers)
        )

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`."""
        total = x.new_zeros(())
        layers = zip(self.gates, self.convs, self.skips, self.norms, self.batch_norms, strict=True)
        for gate, conv, skip, norm, batch_norm in layers:
            gated = F.relu(gate(x))
            x = F.relu(batch_norm(conv(x, graphs.edge_index) + skip(x)))
            x = F.dropout(x, self.config.dropout, self.training)
            x = (1 - BETA) * norm(gated * x) + BETA * x
            total = total + x
        x = self.norm(total)
        for layer in self.attention:
            x = layer(x, graphs.batch, graphs.count)
        return x
