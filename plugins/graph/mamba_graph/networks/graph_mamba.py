"""A stack of :class:`~mamba_graph.nn.GraphMambaConv`, its order worked out once."""

from __future__ import annotations

from torch import Tensor, nn

from mamba_core import scan_orders
from mamba_core.mixers import MixerChoice
from mamba_graph.networks.base import GraphNetwork, PackedGraphs, edge_arguments, make_convs
from mamba_graph.networks.config import GraphMamba
from mamba_graph.nn.graph_mamba_conv import GraphMambaConv, node_order


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
                mixer=mixer,
                order=config.order,
                bidirectional=config.bidirectional,
                merge=config.merge,
            )
            for conv in make_convs(config.conv, d_model, config.depth)
        )
        self.order = node_order(config.order, config.bidirectional)
        self.draws = "noise" in self.order.inputs

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`."""
        order = scan_orders.paths_of(self.order, graphs.context)
        for layer in self.layers:
            given = edge_arguments(self.config.conv, edges)
            out = layer(
                x,
                graphs.edge_index,
                graphs.batch,
                order=order,
                cu_seqlens=graphs.cu_seqlens,
                **given,
            )
            x, edges = out if isinstance(out, tuple) else (out, edges)
        return x
