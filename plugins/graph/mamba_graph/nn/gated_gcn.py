"""GatedGCN: message passing with a gate per edge, which updates the edges too."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.utils import scatter

_TINY = 1e-6


class RowNorm(nn.BatchNorm1d):
    """Batch norm that takes a single row too, or none: in training by the running statistics.

    The same as PyG's ``BatchNorm(allow_single_element=True)``, under torch's names of parameters.
    """

    def forward(self, rows: Tensor) -> Tensor:
        """``(rows, channels)``, the same."""
        if not self.training or rows.shape[0] > 1:
            return super().forward(rows)
        kept = self.running_mean, self.running_var
        return F.batch_norm(rows, *kept, self.weight, self.bias, False, 0.0, self.eps)


class GatedGCNConv(MessagePassing):
    """Residual gated graph convolution with edge features (Bresson and Laurent, 1711.07553).

    As in the benchmark of Dwivedi et al. (2003.00982), with e the edge from j to i::

        e' = D x_i + E x_j + C e
        x'_i = A x_i + sum_j sigmoid(e') * B x_j / sum_j sigmoid(e')

    and then norm and ReLU on both, a residual on the edges. Nodes have no residual of their own:
    the layer around it adds one. PyG's ``ResGatedGraphConv`` does not update the edges.

    :param channels: of nodes and edges.
    :param updates: return new edges too; the last layer of a stack has no use for them.
    """

    def __init__(self, channels: int, updates: bool = True) -> None:
        super().__init__(aggr=None)
        self.channels = channels
        self.A, self.B, self.C, self.D, self.E = (nn.Linear(channels, channels) for _ in range(5))
        self.norm_x = RowNorm(channels)
        self.norm_e = RowNorm(channels) if updates else None

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for part in self.children():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor
    ) -> Tensor | tuple[Tensor, Tensor]:
        """``(nodes, channels)`` and ``(edges, channels)``, the same; nodes only if so built."""
        source, target = edge_index
        gate = self.D(x)[target] + self.E(x)[source] + self.C(edge_attr)
        weight = torch.sigmoid(gate)
        reached = scatter(weight * self.B(x)[source], target, 0, x.shape[0])
        total = scatter(weight, target, 0, x.shape[0])
        nodes = torch.relu(self.norm_x(self.A(x) + reached / (total + _TINY)))
        if self.norm_e is None:
            return nodes
        return nodes, edge_attr + torch.relu(self.norm_e(gate))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.channels})"
