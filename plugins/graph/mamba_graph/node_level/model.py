"""The model of ``graph-node``: body and a linear head on every node."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_graph.data.samples import example_graph, packed
from mamba_graph.networks.body import GraphBody
from mamba_graph.node_level.config import NodeClassifierConfig

Values = dict[str, Tensor]


class NodeClassifier(nn.Module):
    """Which class each node is of; outputs of draws averaged.

    :param config: see :class:`~mamba_graph.node_level.config.NodeClassifierConfig`.
    """

    def __init__(self, config: NodeClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.body = GraphBody(config)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(config.d_model, config.classes)
        )

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        encoding: Tensor,
        batch: Tensor,
        cu_seqlens: Tensor,
    ) -> Values:
        """Classify the nodes of a batch; arguments as for :class:`GraphBody`.

        :returns: ``{"logits": (nodes, classes)}``.
        """
        graphs = (x, edge_index, edge_attr, encoding, batch, cu_seqlens)
        passes = range(self.body.passes)
        logits = [self.head(self.body(*graphs, draw=draw)) for draw in passes]
        return {"logits": torch.stack(logits).mean(0)}


def example(
    config: NodeClassifierConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> Values:
    """Return random graphs; ``node_y`` int64 and ``node_mask`` bool, both ``(nodes,)``."""
    samples = []
    for size in torch.randint(8, 21, (batch_size,), generator=generator).tolist():
        y = torch.randint(config.classes, (size,), generator=generator)
        mask = torch.arange(size) < 2 * size // 3
        mask = mask[torch.randperm(size, generator=generator)]
        samples.append({**example_graph(config, size, generator), "node_y": y, "node_mask": mask})
    return {name: value.to(device) for name, value in packed(samples).items()}
