"""The model of ``graph-link``: body, and a score of two nodes' product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mamba_graph.data.samples import example_graph, packed
from mamba_graph.link_level.config import LinkConfig
from mamba_graph.networks.body import GraphBody

Values = dict[str, Tensor]


class LinkModel(nn.Module):
    """A score per pair of nodes, the same in both directions; outputs of draws averaged.

    :param config: see :class:`~mamba_graph.link_level.config.LinkConfig`.
    """

    def __init__(self, config: LinkConfig) -> None:
        super().__init__()
        self.config = config
        self.body = GraphBody(config)
        self.head = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(config.d_model, config.d_model),
            nn.ReLU(),
            nn.Linear(config.d_model, 1),
        )

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor,
        encoding: Tensor,
        batch: Tensor,
        cu_seqlens: Tensor,
        pairs: Tensor,
    ) -> Values:
        """Score pairs of nodes; further arguments as for :class:`GraphBody`.

        :param pairs: int64 ``(2, pairs)``.
        :returns: ``{"scores": (pairs,)}``, logits.
        """
        graphs = (x, edge_index, edge_attr, encoding, batch, cu_seqlens)
        scores = []
        for draw in range(self.body.passes):
            states = self.body(*graphs, draw=draw)
            product = states[pairs[0]] * states[pairs[1]]
            scores.append(self.head(product)[:, 0])
        return {"scores": torch.stack(scores).mean(0)}


def example(
    config: LinkConfig,
    *,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str,
) -> Values:
    """Return random graphs with as many joined ``pairs`` as drawn ones; ``pair_y`` says which."""
    samples = []
    for size in torch.randint(8, 21, (batch_size,), generator=generator).tolist():
        sample = example_graph(config, size, generator)
        joined = sample["edge_index"][:, : size // 2]
        drawn = torch.randint(size, joined.shape, generator=generator)
        y = torch.cat([torch.ones(size // 2), torch.zeros(size // 2)])
        samples.append({**sample, "pairs": torch.cat([joined, drawn], dim=1), "pair_y": y})
    return {name: value.to(device) for name, value in packed(samples).items()}
