"""GRED (Ding et al., 2312.01538): sums over hops, read by a diagonal linear recurrence."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch_geometric.utils import scatter

from mamba_graph.networks.base import GraphNetwork, PackedGraphs
from mamba_graph.networks.config import Gred


def hop_edges(edge_index: Tensor, nodes: int, hops: int) -> list[Tensor]:
    """Return the pairs at distance 1, 2, ..., each int64 ``(2, pairs)``; worked out on the CPU.

    The graphs may be packed: there are no pairs between them. Undirected.
    """
    source, target = edge_index.cpu().numpy()
    kept = source != target
    ones = np.ones(int(kept.sum()), dtype=np.int32)
    step = sparse.csr_array((ones, (source[kept], target[kept])), shape=(nodes, nodes))
    step = sparse.csr_array(step + step.T)
    step.data[:] = 1
    before, at = sparse.csr_array(sparse.eye_array(nodes, dtype=np.int32)), step
    found = []
    for _ in range(hops):
        pairs = at.tocoo()
        coordinates = np.stack([pairs.row, pairs.col]).astype(np.int64)
        found.append(torch.from_numpy(coordinates).to(edge_index.device))
        reached = sparse.csr_array(at @ step)
        reached.data[:] = 1
        # a neighbour of a node at distance k is at k - 1, k or k + 1
        new = sparse.csr_array(reached - reached.multiply(before + at))
        new.eliminate_zeros()
        before, at = at, new
    return found


class HopRecurrence(nn.Module):
    """``h = sum_k lambda^k W x_k`` in the complex plane, read off as real channels (LRU).

    The farthest hop comes first and a node itself last, so hop k has decayed k times.
    """

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        radius = torch.empty(d_state).uniform_(0.5, 0.99)
        self.log_decay = nn.Parameter(torch.log(-torch.log(radius)))
        self.angle = nn.Parameter(torch.empty(d_state).uniform_(0, math.pi / 5))
        self.write = nn.Linear(d_model, 2 * d_state, bias=False)
        self.read = nn.Linear(2 * d_state, d_model)

    def forward(self, hops: list[Tensor]) -> Tensor:
        """Read ``hops + 1`` tensors ``(nodes, d_model)``, the nodes' own first; one such back."""
        decay = torch.exp(torch.complex(-torch.exp(self.log_decay), self.angle))
        state = torch.zeros((), dtype=decay.dtype, device=decay.device)
        scale = torch.sqrt(1 - decay.abs() ** 2)
        for x in reversed(hops):
            real, imag = self.write(x).chunk(2, dim=-1)
            state = decay * state + scale * torch.complex(real, imag)
        return self.read(torch.cat([state.real, state.imag], dim=-1))


class GredLayer(nn.Module):
    """Sums of each hop, an MLP on them, the recurrence, a gate; norms and residuals around."""

    def __init__(self, config: Gred, d_model: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, d_model), nn.GELU(), nn.Linear(d_model, d_model)
        )
        self.recurrence = HopRecurrence(d_model, config.d_state)
        self.gate = nn.Linear(d_model, 2 * d_model)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, pairs: list[Tensor]) -> Tensor:
        """``(nodes, d_model)``, the same."""
        normed = self.norm(x)
        sums = [normed]
        sums += [scatter(normed[source], target, 0, x.shape[0]) for source, target in pairs]
        read = self.recurrence([h + self.mlp(h) for h in sums])
        return x + self.dropout(nn.functional.glu(self.gate(nn.functional.gelu(read)), dim=-1))


class GredNetwork(GraphNetwork):
    """See :class:`~mamba_graph.networks.config.Gred`."""

    def __init__(self, config: Gred, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(GredLayer(config, d_model) for _ in range(config.depth))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`; edge states are not read."""
        pairs = hop_edges(graphs.edge_index, x.shape[0], self.config.hops)
        for layer in self.layers:
            x = layer(x, pairs)
        return self.norm(x)
