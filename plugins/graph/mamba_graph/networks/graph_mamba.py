"""A stack of :class:`~mamba_graph.nn.GraphMambaConv`, its order worked out once."""

from __future__ import annotations

from torch import Tensor, nn

from mamba_core import scan_orders
from mamba_core.mixers import MixerChoice
from mamba_graph.networks.base import (
    GraphNetwork,
    PackedGraphs,
    edge_arguments,
    make_convs,
    norm_arguments,
)
from mamba_graph.networks.config import GraphMamba
from mamba_graph.nn.graph_mamba_conv import GraphMambaConv, node_order
from mamba_graph.orders.graphs import Graphs
from mamba_graph.orders.walks import neighbours_first, walks


class GraphMambaNetwork(GraphNetwork):
    """See :class:`~mamba_graph.networks.config.GraphMamba`."""

    def __init__(self, config: GraphMamba, d_model: int, mixer: MixerChoice) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(
            GraphMambaConv(
                d_model,
                conv,
                dropout=config.dropout,
                norm=config.norm,
                norm_kwargs=norm_arguments(config.norm),
                mixer=mixer,
                order=config.order,
                bidirectional=config.bidirectional,
                merge=config.merge,
                residual=config.residual,
            )
            for conv in make_convs(config.conv, d_model, config.depth)
        )
        self.order = node_order(config.order, config.bidirectional)
        self.draws = "noise" in self.order.inputs or config.neighbours > 0

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`."""
        order, cu_seqlens = scan_orders.paths_of(self.order, graphs.context), graphs.cu_seqlens
        tokens = None
        if self.config.neighbours:
            sampled = walks(Graphs.of(graphs.context), 1, self.config.neighbours, 0)[..., 1]
            order, cu_seqlens, tokens = neighbours_first(order, cu_seqlens, sampled)
        for layer in self.layers:
            given = edge_arguments(self.config.conv, edges)
            out = layer(
                x,
                graphs.edge_index,
                graphs.batch,
                order=order,
                cu_seqlens=cu_seqlens,
                tokens=tokens,
                **given,
            )
            x, edges = out if isinstance(out, tuple) else (out, edges)
        return x
