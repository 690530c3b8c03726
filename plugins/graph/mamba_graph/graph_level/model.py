"""The models of ``graph-cls`` and ``graph-reg``: body, pooling, head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

from mamba_graph.data.samples import example_graph, packed
from mamba_graph.graph_level.config import GraphClassifierConfig, GraphRegressorConfig
from mamba_graph.networks.body import GraphBody

Values = dict[str, Tensor]


class _Readout(nn.Module):
    """Body, pooling over each graph's nodes, a head of two layers; outputs of draws averaged."""

    def __init__(self, config: GraphClassifierConfig | GraphRegressorConfig, outputs: int) -> None:
        super().__init__()
        self.config = config
        self.body = GraphBody(config)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.d_model, config.d_model),
            nn.ReLU(),
            nn.Linear(config.d_model, outputs),
        )

    def read(self, *graphs: Tensor) -> Tensor:
        """Return the outputs, ``(graphs, outputs)``; arguments as for :class:`GraphBody`."""
        passes = range(self.body.passes)
        return torch.stack([self._once(graphs, draw) for draw in passes]).mean(0)

    def _once(self, graphs: tuple[Tensor, ...], draw: int) -> Tensor:
        states = self.body(*graphs, draw=draw)
        batch, cu_seqlens = graphs[-2:]
        count = cu_seqlens.shape[0] - 1
        return self.head(scatter(states, batch, 0, count, reduce=self.config.pool))


class GraphClassifier(_Readout):
    """Which class each graph is of.

    :param config: see :class:`~mamba_graph.graph_level.config.GraphClassifierConfig`.
    """

    config: GraphClassifierConfig

    def __init__(self, config: GraphClassifierConfig) -> None:
        super().__init__(config, config.classes)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        encoding: Tensor,
        batch: Tensor,
        cu_seqlens: Tensor,
    ) -> Values:
        """Classify the graphs of a batch; arguments as for :class:`GraphBody`.

        :returns: ``{"logits": (graphs, classes)}``.
        """
        return {"logits": self.read(x, edge_index, edge_attr, encoding, batch, cu_seqlens)}


class GraphRegressor(_Readout):
    """Numbers of each graph.

    :param config: see :class:`~mamba_graph.graph_level.config.GraphRegressorConfig`.
    """

    config: GraphRegressorConfig

    def __init__(self, config: GraphRegressorConfig) -> None:
        super().__init__(config, config.targets)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        encoding: Tensor,
        batch: Tensor,
        cu_seqlens: Tensor,
    ) -> Values:
        """Find the numbers of the graphs of a batch; arguments as for :class:`GraphBody`.

        :returns: ``{"values": (graphs, targets)}``.
        """
        values = self.read(x, edge_index, edge_attr, encoding, batch, cu_seqlens)
        return {"values": values * self.config.target_scale + self.config.target_mean}


def classifier_example(
    config: GraphClassifierConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> Values:
    """Return random graphs of 6 to 20 nodes; ``y`` int64 ``(graphs,)``, drawn."""
    y = torch.randint(config.classes, (batch_size,), generator=generator)
    return _example(config, y, generator, device)


def regressor_example(
    config: GraphRegressorConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> Values:
    """Return random graphs of 6 to 20 nodes; ``y`` float ``(graphs, targets)``, drawn."""
    y = torch.randn(batch_size, config.targets, generator=generator)
    return _example(config, y * config.target_scale + config.target_mean, generator, device)


def _example(
    config: GraphClassifierConfig | GraphRegressorConfig,
    y: Tensor,
    generator: torch.Generator,
    device: torch.device | str,
) -> Values:
    sizes = torch.randint(6, 21, (len(y),), generator=generator).tolist()
    samples = [example_graph(config, size, generator) for size in sizes]
    batch = packed([{**sample, "y": answer} for sample, answer in zip(samples, y, strict=True)])
    return {name: value.to(device) for name, value in batch.items()}
