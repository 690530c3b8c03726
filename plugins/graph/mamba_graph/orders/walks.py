"""Random walks from every node, and sequences in which neighbours stand before a node."""

from __future__ import annotations

import torch
from torch import Tensor

from mamba_graph.orders.graphs import Graphs
from mamba_graph.orders.mixing import fractions, mixed


def walks(graphs: Graphs, length: int, count: int, draw: int) -> Tensor:
    """Return the nodes on random walks from every node, int64 ``(nodes, count, length + 1)``.

    Drawn by a hash of the context's noise, so that they repeat in eval mode and cost no host
    synchronisation. A walk stays where no edge leads on.
    """
    assert graphs.noise is not None
    source, target = graphs.edge_index
    target = target[source.argsort(stable=True)]
    first = graphs.degree.cumsum(0) - graphs.degree
    at = torch.arange(graphs.nodes, device=source.device)[:, None].expand(-1, count)
    seed = (graphs.noise.double() * 2**40).long()[:, None] * count
    seed = seed + torch.arange(count, device=source.device)
    path = [at]
    for step in range(length):
        chance = fractions(mixed(mixed(seed) + 2 * (draw * length + step) + 1))
        degree = graphs.degree[at]
        pick = (first[at] + (chance * degree).long()).clamp(max=max(len(target) - 1, 0))
        at = torch.where(degree > 0, target[pick], at) if len(target) else at
        path.append(at)
    return torch.stack(path, dim=-1)


def neighbours_first(
    order: Tensor, cu_seqlens: Tensor, sampled: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Put sampled neighbours before each node of a sequence (Graph-Mamba's ``augment_seq``).

    :param order: int64 ``(K, nodes)``.
    :param sampled: int64 ``(nodes, count)``, neighbours of each node.
    :returns: the order of the longer sequence ``(K, nodes * (count + 1))``, where its graphs
        start, and the node of each of its tokens ``(nodes, count + 1)``, the node itself last.
    """
    nodes, count = sampled.shape
    own = torch.arange(nodes, device=order.device)[:, None]
    tokens = torch.cat([sampled, own], dim=1)
    within = torch.arange(count + 1, device=order.device)
    longer = (order[..., None] * (count + 1) + within).flatten(-2)
    return longer, cu_seqlens * (count + 1), tokens
