"""Encoder and network: from a batch of graphs to node states."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mamba_core.mixers import MixerChoice
from mamba_graph.networks import config as C
from mamba_graph.networks.base import READS_EDGES, GraphNetwork, PackedGraphs
from mamba_graph.networks.config import GraphConfig, Network
from mamba_graph.networks.convolutions import ConvolutionsNetwork, GpsNetwork
from mamba_graph.networks.gmn import GmnNetwork
from mamba_graph.networks.graph_mamba import GraphMambaNetwork
from mamba_graph.networks.gred import GredNetwork
from mamba_graph.networks.polynormer import PolynormerNetwork
from mamba_graph.orders.graphs import context_of, node_noise


class CategoryEncoder(nn.Module):
    """The sum of a vector per category and column, as in OGB."""

    def __init__(self, categories: tuple[int, ...], d_model: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, d_model) for size in categories)

    def forward(self, numbers: Tensor) -> Tensor:
        """``(..., columns)`` whole numbers of any dtype -> ``(..., d_model)``."""
        columns = numbers.long().unbind(-1)
        values = [table(column) for table, column in zip(self.tables, columns, strict=True)]
        return torch.stack(values).sum(0)


class Alike(nn.Module):
    """One learned vector for all: edges without features."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.randn(d_model))

    def forward(self, features: Tensor) -> Tensor:
        """``(edges, 0)`` -> ``(edges, d_model)``."""
        return self.vector.expand(features.shape[0], -1)


def make_network(config: Network, d_model: int, mixer: MixerChoice) -> GraphNetwork:
    """Build what a config names."""
    match config:
        case C.GraphMamba():
            return GraphMambaNetwork(config, d_model, mixer)
        case C.Gmn():
            return GmnNetwork(config, d_model, mixer)
        case C.Gred():
            return GredNetwork(config, d_model)
        case C.Convolutions():
            return ConvolutionsNetwork(config, d_model)
        case C.Gps():
            return GpsNetwork(config, d_model)
        case C.Polynormer():
            return PolynormerNetwork(config, d_model)


class GraphBody(nn.Module):
    """Encoders of nodes, edges and places, then the network.

    :param config: see :class:`~mamba_graph.networks.config.GraphConfig`.
    """

    def __init__(self, config: GraphConfig) -> None:
        super().__init__()
        self.config = config
        self.nodes = _encoder(config.categories, config.features, config.d_model)
        self.network = make_network(config.network, config.d_model, config.scan_mixer)
        self.edges = (
            _encoder(config.edge_categories, config.edge_features, config.d_model)
            if _reads_edges(config.network)
            else None
        )
        size = config.encoding.size if config.encoding else 0
        self.places = nn.Linear(size, config.d_model, bias=False) if size else None

    @property
    def passes(self) -> int:
        """How many outputs to average: one in training and where nothing is drawn."""
        return self.config.draws if self.network.draws and not self.training else 1

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        encoding: Tensor,
        batch: Tensor,
        cu_seqlens: Tensor,
        *,
        draw: int = 0,
    ) -> Tensor:
        """Return node states ``(nodes, d_model)``.

        :param x: float ``(nodes, features)``.
        :param edge_index: int64 ``(2, edges)``.
        :param edge_attr: float ``(edges, edge_features)``.
        :param encoding: float ``(nodes, size of the encoding)``.
        :param batch: int64 ``(nodes,)``, ascending.
        :param cu_seqlens: int32 ``(graphs + 1,)``.
        :param draw: which draw of a drawn order, in eval mode.
        :raises ValueError: for another number of features.
        """
        self._check(x, edge_attr, encoding)
        noise = (
            torch.rand(batch.shape, device=batch.device)
            if self.training
            else node_noise(batch, cu_seqlens, draw)
        )
        context = context_of(edge_index, batch, cu_seqlens, features=x, noise=noise)
        graphs = PackedGraphs(edge_index, batch, cu_seqlens, context)
        x = F.dropout(x, self.config.feature_dropout, self.training)
        h = F.dropout(self.nodes(x), self.config.dropout, self.training)
        if self.places is not None:
            h = h + self.places(self._signed(encoding, batch, cu_seqlens))
        edges = self._edge_states(edge_attr, h)
        return self.network(h, edges, graphs)

    def _check(self, x: Tensor, edge_attr: Tensor, encoding: Tensor) -> None:
        config = self.config
        size = config.encoding.size if config.encoding else 0
        expected = {
            "x": (x, config.features),
            "edge_attr": (edge_attr, config.edge_features),
            "encoding": (encoding, size),
        }
        for name, (tensor, width) in expected.items():
            if tensor.dim() != 2 or tensor.shape[1] != width:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, the model reads {width} columns"
                )

    def _signed(self, encoding: Tensor, batch: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Eigenvectors have no sign of their own: in training each graph's are drawn."""
        if not (self.training and isinstance(self.config.encoding, C.Laplacian)):
            return encoding
        shape = (cu_seqlens.shape[0] - 1, encoding.shape[1])
        sign = torch.randint(2, shape, device=encoding.device) * 2 - 1
        return encoding * sign[batch]

    def _edge_states(self, edge_attr: Tensor, like: Tensor) -> Tensor:
        if self.edges is None:
            return like.new_zeros(edge_attr.shape[0], 0)
        return self.edges(edge_attr)


def _encoder(categories: tuple[int, ...], size: int, d_model: int) -> nn.Module:
    if not size:
        return Alike(d_model)
    if not categories:
        return nn.Linear(size, d_model)
    if len(categories) != size:
        raise ValueError(f"{len(categories)} numbers of categories for {size} features")
    return CategoryEncoder(categories, d_model)


def _reads_edges(network: Network) -> bool:
    return getattr(network, "conv", None) in READS_EDGES
