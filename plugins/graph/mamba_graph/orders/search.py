"""Orders by a search through the graph: breadth, depth, bandwidth, hops, cores, communities.

These are worked out on the CPU by scipy, all graphs of a batch at once; tensors elsewhere are
copied there and back. Work them out ahead (:class:`~mamba_graph.orders.AddNodeRank`) where that
wait matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph
from torch import Tensor

from mamba_graph.orders.base import NodeOrder
from mamba_graph.orders.graphs import Graphs

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Relabelled:
    """The undirected graphs with nodes renamed by their place under some keys.

    A search that goes by these names goes the same way however the nodes were numbered.
    """

    order: Tensor
    """int64 ``(N,)``: the node of each new name."""
    adjacency: Any
    """scipy CSR ``(N, N)``, symmetric, of ones; without loops and duplicates."""
    component: Ints
    """The component of each new name, numbered by their first nodes."""
    roots: Ints
    """The first new name of each component."""

    @classmethod
    def of(cls, graphs: Graphs, keys: Sequence[Tensor]) -> Relabelled:
        """Rename by graph, keys and ties."""
        order = graphs.sorted_by(keys).cpu()
        name = torch.empty_like(order)
        name[order] = torch.arange(len(order))
        source, target = name[graphs.edge_index.cpu()].numpy()
        kept = source != target
        rows = np.concatenate([source[kept], target[kept]])
        columns = np.concatenate([target[kept], source[kept]])
        size = len(order)
        entries = (np.ones(len(rows)), (rows, columns))
        adjacency = sparse.csr_array(entries, shape=(size, size))  # adds duplicates up
        adjacency.data[:] = 1
        adjacency.sort_indices()
        _, component = csgraph.connected_components(adjacency, directed=False)
        _, roots, component = np.unique(component, return_index=True, return_inverse=True)
        return cls(order, adjacency, component, roots)

    def back(self, values: NDArray[Any]) -> Tensor:
        """Return values per new name as a tensor per node, on the CPU."""
        result = torch.empty(len(values), dtype=torch.from_numpy(values[:0]).dtype)
        result[self.order] = torch.from_numpy(values)
        return result

    def members(self) -> Iterator[Ints]:
        """Yield the names in each component."""
        by_component = self.component.argsort(kind="stable")
        yield from np.split(by_component, np.cumsum(np.bincount(self.component))[:-1])

    def searched(self, roots: Ints, depth_first: bool) -> Ints:
        """Return the place of each name when every component is searched from its root."""
        search = csgraph.depth_first_order if depth_first else csgraph.breadth_first_order
        size = len(self.order)
        visited = search(self._rooted(roots), size, return_predecessors=False)
        visited = visited[visited < size]
        # breadth first takes turns between components: put each together
        visited = visited[self.roots[self.component[visited]].argsort(kind="stable")]
        place = np.empty(size, dtype=np.int64)
        place[visited] = np.arange(size)
        return place

    def hops(self, roots: Ints) -> Ints:
        """Return each name's distance from the root of its component."""
        size = len(self.order)
        distance = csgraph.dijkstra(self._rooted(roots), indices=size, unweighted=True)
        return distance[:size].astype(np.int64) - 1

    def _rooted(self, roots: Ints) -> Any:
        """One more node, from which an edge leads to each root: one search visits everything."""
        # a last row put behind the others by hand: scipy's stacking takes longer than the search
        size, held = len(self.order), self.adjacency
        starts = np.append(held.indptr, held.indptr[-1] + len(roots)).astype(held.indptr.dtype)
        columns = np.concatenate([held.indices, roots]).astype(held.indices.dtype)
        entries = (np.ones(len(columns)), columns, starts)
        return sparse.csr_array(entries, shape=(size + 1, size + 1))

    def far_ends(self) -> Ints:
        """Return a node at the far end of each component, seen from its root; few edges first."""
        hops = self.hops(self.roots)
        last = np.lexsort((np.arange(len(hops)), -hops, self.component))
        return last[np.unique(self.component[last], return_index=True)[1]]


class BreadthFirst(NodeOrder):
    """Breadth-first from a node of least degree, each component after the other."""

    depth_first = False
    unique = True

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        relabelled = Relabelled.of(graphs, [graphs.degree])
        place = relabelled.searched(relabelled.roots, self.depth_first)
        return [relabelled.back(place).to(graphs.batch.device)]


class DepthFirst(BreadthFirst):
    """Depth-first from a node of least degree, neighbours of least degree first."""

    depth_first = True


class CuthillMcKee(NodeOrder):
    """Reverse Cuthill-McKee: edges become short steps of the sequence.

    Breadth-first from a node at the far end of each component, neighbours of least degree first,
    and all of it backwards (Cuthill and McKee 1969; George 1971).
    """

    unique = True

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        relabelled = Relabelled.of(graphs, [graphs.degree])
        place = relabelled.searched(relabelled.far_ends(), False)
        return [-relabelled.back(place).to(graphs.batch.device)]


class Hops(NodeOrder):
    """By distance from a node of most degree, the farthest first, so that it comes last.

    Nodes at one distance go by degree, then by the tie rule.
    """

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        relabelled = Relabelled.of(graphs, [-graphs.degree])
        root = relabelled.back(relabelled.roots[relabelled.component])
        hops = relabelled.back(relabelled.hops(relabelled.roots))
        device = graphs.batch.device
        return [root.to(device), -hops.to(device), graphs.degree]


class Core(NodeOrder):
    """By core number, the outermost first: k when the node is in a k-core and in no (k+1)-core."""

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        relabelled = Relabelled.of(graphs, [graphs.degree])
        core = relabelled.back(core_numbers(relabelled.adjacency))
        return [core.to(graphs.batch.device), graphs.degree]


def core_numbers(adjacency: Any) -> Ints:
    """Peel the graph: take away nodes of least degree, all at once, until none are left.

    :param adjacency: scipy CSR, symmetric, of ones.
    """
    degree = np.diff(adjacency.indptr).astype(np.int64)
    core = np.zeros_like(degree)
    left = np.ones(len(degree), dtype=bool)
    level = 0
    while left.any():
        level = max(level, int(degree[left].min()))
        peeled = np.flatnonzero(left & (degree <= level))
        core[peeled] = level
        left[peeled] = False
        touched = adjacency[peeled].indices
        degree -= np.bincount(touched, minlength=len(degree))
    return core


class Communities(NodeOrder):
    """Community after community (Louvain, Blondel et al. 2008), the largest first.

    Inside a community by degree.

    :param resolution: above 1 more and smaller communities.
    :param seed: of the order in which Louvain visits nodes.
    """

    def __init__(self, resolution: float = 1.0, seed: int = 0) -> None:
        self.resolution, self.seed = resolution, seed

    def keys(self, graphs: Graphs) -> Sequence[Tensor]:
        """See :meth:`NodeOrder.keys`."""
        import networkx as nx

        relabelled = Relabelled.of(graphs, [graphs.degree])
        block = np.zeros(graphs.nodes, dtype=np.int64)
        sizes = torch.bincount(graphs.batch).tolist()
        for part in np.split(np.arange(graphs.nodes), np.cumsum(sizes)[:-1]):
            graph = nx.from_scipy_sparse_array(relabelled.adjacency[part][:, part])
            found = nx.community.louvain_communities(
                graph, resolution=self.resolution, seed=self.seed
            )
            found = sorted((sorted(names) for names in found), key=lambda n: (-len(n), n[0]))
            for number, names in enumerate(found):
                block[part[names]] = number
        return [relabelled.back(block).to(graphs.batch.device), graphs.degree]
