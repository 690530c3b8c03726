"""Made graphs for the tests of this folder."""

from __future__ import annotations

import torch
from torch_geometric.data import Batch, Data


def random_graph(nodes, edges, seed=0, features=4):
    """An undirected graph, maybe with loops, duplicates and isolated nodes."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, edges), generator=generator)
    x = torch.randint(3, (nodes, features), generator=generator).float()
    return Data(x=x, edge_index=torch.cat([ends, ends.flip(0)], 1), num_nodes=nodes)


def renumbered(data, seed=0):
    """The same graph with other node numbers, and the new number of each node."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(data.num_nodes, generator=generator)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    moved = Data(x=data.x[order], edge_index=place[data.edge_index], num_nodes=data.num_nodes)
    return moved, place


def batched(*graphs):
    """Several graphs as a PyG batch."""
    return Batch.from_data_list(list(graphs))


def colours(data, rounds=3):
    """WL-3 with features by dictionaries: what may tell two nodes apart."""
    near = [[] for _ in range(data.num_nodes)]
    for source, target in data.edge_index.T.tolist():
        near[target].append(source)
    colour = [(tuple(row),) for row in data.x.tolist()]
    for _ in range(rounds):
        colour = [(c, tuple(sorted(colour[j] for j in near[i]))) for i, c in enumerate(colour)]
    return colour
