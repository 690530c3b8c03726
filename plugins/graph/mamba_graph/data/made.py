"""Graphs whose answer lies far away, made on the spot: how far does a network see?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from mamba_core.training.data import epoch_order


def ring_transfer(count: int, distance: int, classes: int = 5, seed: int = 0) -> list[Data]:
    """Rings on which one node holds a class and the opposite one must name it.

    After Bodnar et al. (2106.12575) and Di Giovanni et al. (2302.02941). Node features: the class
    at the source as one-hot, a constant on all others, and a last column that marks the target.

    :param distance: edges between source and target; the ring has ``2 * distance`` nodes.
    :returns: graphs with ``y``, the class, and ``node_mask``, true at the target.
    """
    size = 2 * distance
    ring = torch.arange(size)
    edges = torch.stack([ring, (ring + 1) % size])
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    answers = epoch_order(count, seed, 0) % classes
    graphs = []
    for answer in answers.tolist():
        x = torch.zeros(size, classes + 1)
        x[:, :classes] = 1 / classes
        x[0, :classes] = 0
        x[0, answer] = 1
        x[distance] = 0
        x[distance, classes] = 1
        mask = torch.zeros(size, dtype=torch.bool)
        mask[distance] = True
        graphs.append(Data(x=x, edge_index=edges, y=torch.tensor(answer), node_mask=mask))
    return graphs


def tree_neighbors_match(count: int, depth: int, seed: int = 0) -> list[Data]:
    """Binary trees whose root must find the leaf with as many neighbours as itself.

    After Alon and Yahav (2006.05205): each leaf has another number of neighbours, 1 to
    ``2 ** depth``, and a class; the root has a number; the answer is the class of the leaf of
    that number. All leaves' words pass through the root's two edges.

    :returns: graphs with ``y`` and ``node_mask``, true at the root. Features: one-hot number of
        neighbours (the root's and the leaves', none inside), then one-hot class of a leaf.
    """
    leaves = 2**depth
    nodes = 2 * leaves - 1
    child = torch.arange(1, nodes)
    edges = torch.stack([child, (child - 1) // 2])
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    mask = torch.arange(nodes) == 0
    graphs = []
    for number in range(count):
        classes = epoch_order(leaves, seed, 2 * number)
        numbers = epoch_order(leaves, seed, 2 * number + 1)
        asked = int(epoch_order(leaves, seed + 1, number)[0])
        x = torch.zeros(nodes, 2 * leaves)
        x[0, asked] = 1
        own = torch.arange(leaves) + leaves - 1
        x[own, numbers] = 1
        x[own, leaves + classes] = 1
        y = classes[(numbers == asked).nonzero()[0, 0]]
        graphs.append(Data(x=x, edge_index=edges, y=y, node_mask=mask))
    return graphs


def random_regular(nodes: int, degree: int, seed: int = 0) -> Tensor:
    """Return the edges of a random graph of about that degree, both ways, int64 ``(2, E)``."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, nodes * degree // 2), generator=generator)
    return torch.cat([ends, ends.flip(0)], dim=1)


def as_node_samples(graphs: Sequence[Data]) -> list[Data]:
    """Return the graphs with a class per node: the graph's, which counts where the mask is."""
    made = []
    for graph in graphs:
        copy = graph.clone()
        copy.y = graph.y.expand(graph.num_nodes).clone()
        made.append(copy)
    return made
