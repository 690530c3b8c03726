"""The peers on PyG's own layers: message passing only, and GPS."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn import GPSConv
from torch_geometric.nn.resolver import normalization_resolver

from mamba_graph.networks.base import (
    GraphNetwork,
    PackedGraphs,
    edge_arguments,
    make_convs,
    norm_arguments,
)
from mamba_graph.networks.config import Convolutions, Gps


class ConvolutionsNetwork(GraphNetwork):
    """See :class:`~mamba_graph.networks.config.Convolutions`."""

    def __init__(self, config: Convolutions, d_model: int) -> None:
        super().__init__()
        self.config = config
        self.convs = nn.ModuleList(make_convs(config.conv, d_model, config.depth))
        self.norms = nn.ModuleList(
            normalization_resolver(config.norm, d_model, **norm_arguments(config.norm))
            or nn.Identity()
            for _ in range(config.depth)
        )

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`."""
        config = self.config
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.dropout(x, config.dropout, self.training)
            h = conv(h, graphs.edge_index, **edge_arguments(config.conv, edges))
            h, edges = h if isinstance(h, tuple) else (h, edges)
            # the other two are of each graph, and would wait for the device to count graphs
            alike = config.norm in (None, "batch_norm")
            h = F.relu(norm(h) if alike else norm(h, graphs.batch, graphs.count))
            x = x + h if config.residual else h
        return x


class GpsNetwork(GraphNetwork):
    """See :class:`~mamba_graph.networks.config.Gps`."""

    def __init__(self, config: Gps, d_model: int) -> None:
        super().__init__()
        self.config = config
        if config.conv == "gatedgcn":
            raise ValueError("PyG's GPSConv takes no conv that updates edges: choose gin or gcn")
        self.layers = nn.ModuleList(
            GPSConv(
                d_model,
                conv,
                heads=config.heads,
                dropout=config.dropout,
                attn_type=config.attention,
                norm_kwargs=norm_arguments("batch_norm"),
            )
            for conv in make_convs(config.conv, d_model, config.depth)
        )

    def forward(self, x: Tensor, edges: Tensor, graphs: PackedGraphs) -> Tensor:
        """See :meth:`GraphNetwork.forward`."""
        for layer in self.layers:
            given = edge_arguments(self.config.conv, edges)
            x = layer(x, graphs.edge_index, graphs.batch, **given)
        return x
