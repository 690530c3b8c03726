"""Graph Mamba Network (Behrouz and Hashemi, 2402.08678), from the paper's text."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_core import scan_orders
from mamba_core.mixers import MixerChoice, MultiScan
from mamba_graph.networks.base import GraphNetwork, PackedGraphs, edge_arguments, make_convs
from mamba_graph.networks.config import Gmn
from mamba_graph.nn.graph_mamba_conv import node_order
from mamba_graph.orders.graphs import Graphs
from mamba_graph.orders.walks import walks


def subgraph_means(x: Tensor, visited: Tensor) -> Tensor:
    """Return the mean over the different nodes of each row, ``(nodes, tokens, channels)``.

    :param visited: int64 ``(nodes, tokens, visits)``.
    """
    visited = visited.sort(dim=-1).values
    new = torch.ones_like(visited, dtype=torch.bool)
    new[..., 1:] = visited[..., 1:] != visited[..., :-1]
    total = (x[visited] * new[..., None]).sum(-2)
    return total / new.sum(-1, keepdim=True)


class GmnLayer(nn.Module):
    """Local encoder with residual, then the two-way scan over tokens, then an MLP."""

    def __init__(
        self, config: Gmn, d_model: int, mixer: MixerChoice, conv: nn.Module | None
    ) -> None:
        super().__init__()
        self.config, self.conv = config, conv
        self.scan = MultiScan(d_model, mixer, 2, merge="mean")
        self.norm, self.norm_out = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.mlp = nn.Sequential(
            nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, edges: Tensor, graphs: PackedGraphs, order: Tensor, visited: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Node and edge states, the same."""
        if self.conv is not None:
            out = self.conv(x, graphs.edge_index, **edge_arguments(self.config.conv, edges))
            local, edges = out if isinstance(out, tuple) else (out, edges)
            x = x + self.dropout(local)
        x = x + self.dropout(self._read(self.norm(x), graphs, order, visited))
        return x + self.dropout(self.mlp(self.norm_out(x))), edges

    def _read(
        self, x: Tensor, graphs: PackedGraphs, order: Tensor, visited: list[Tensor]
    ) -> Tensor:
        if not visited:
            return self.scan(x[None], order=order, cu_seqlens=graphs.cu_seqlens)[0]
        tokens = [subgraph_means(x, part) for part in visited]
        sequence = torch.cat([*tokens, x[:, None]], dim=1)
        return self.scan(sequence, order=order)[:, -1]


class GmnNetwork(GraphNetwork):
    """See :class:`~mamba_graph.networks.config.Gmn`."""

    def __init__(self, config: Gmn, d_model: int, mixer: MixerChoice) -> None:
        super().__init__()
        self.config = config
        self.order = node_order(config.order, bidirectional=True)
        self.both_ways = scan_orders.get("bidirectional", dims=1)
        if scan_orders.paths(self.order) != 2:
            raise ValueError(f"order = {config.order!r} is no order of nodes with one path")
        self.draws = config.hops > 0 or "noise" in self.order.inputs
        self.layers = nn.ModuleList(
            GmnLayer(config, d_model, mixer, conv)
            for conv in make_convs(config.conv, d_model, config.depth)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`."""
        visited = self._visited(graphs) if self.config.hops else []
        if visited:
            tokens = sum(part.shape[1] for part in visited) + 1
            order = self.both_ways((tokens,), device=x.device)  # type: ignore[call-arg, operator, arg-type]
        else:
            order = scan_orders.paths_of(self.order, graphs.context)  # type: ignore[arg-type]
        for layer in self.layers:
            x, edges = layer(x, edges, graphs, order, visited)
        return self.norm(x)

    def _visited(self, graphs: PackedGraphs) -> list[Tensor]:
        """Per length, the longest first: ``(nodes, repeats, visits)``."""
        c = self.config
        seen = Graphs.of(graphs.context)
        found = []
        for length in range(c.hops, 0, -1):
            path = walks(seen, length, c.repeats * c.walks, length)
            found.append(path.unflatten(1, (c.repeats, c.walks)).flatten(2))
        return found
