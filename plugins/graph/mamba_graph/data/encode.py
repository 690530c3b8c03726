"""Positions of nodes, ahead of any layer; and features for graphs that have none."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch_geometric.data import Data
from torch_geometric.transforms import AddRandomWalkPE
from torch_geometric.utils import get_laplacian, to_scipy_sparse_matrix

from mamba_graph.networks.config import Encoding, Laplacian

_DENSE = 2000
"""Graphs up to this size are decomposed whole."""


def encoding_of(data: Data, encoding: Encoding | None) -> Tensor:
    """Return float32 ``(nodes, size)``; without an encoding ``(nodes, 0)``."""
    nodes = int(data.num_nodes or 0)
    if encoding is None:
        return torch.zeros(nodes, 0)
    if isinstance(encoding, Laplacian):
        return laplacian_vectors(data, encoding.size)
    plain = Data(edge_index=data.edge_index, num_nodes=nodes)
    return AddRandomWalkPE(encoding.size, "places")(plain).places.float()


def laplacian_vectors(data: Data, size: int) -> Tensor:
    """Return the eigenvectors after the first of the normalised Laplacian, ``(nodes, size)``.

    PyG's transform draws their signs, and above 100 nodes ARPACK's start (its issue 7499); here
    the sign makes the sum of cubes positive, the start is fixed, and columns that a small graph
    lacks are zeros.
    """
    nodes = int(data.num_nodes or 0)
    edges, weights = get_laplacian(data.edge_index, normalization="sym", num_nodes=nodes)
    matrix = to_scipy_sparse_matrix(edges, weights.double(), nodes).tocsr()
    matrix = (matrix + matrix.T) / 2
    if nodes <= _DENSE:
        vectors = np.linalg.eigh(matrix.toarray())[1]
    else:
        from scipy.sparse.linalg import eigsh

        start = np.cos(np.arange(nodes))
        values, vectors = eigsh(matrix, k=size + 1, sigma=-1e-4, v0=start)
        vectors = vectors[:, values.argsort()]
    vectors = vectors[:, 1 : size + 1]
    vectors = np.where((vectors**3).sum(0) < 0, -vectors, vectors)
    found = torch.from_numpy(np.ascontiguousarray(vectors)).float()
    return F.pad(found, (0, size - found.shape[1]))


def degree_columns(data: Data, size: int) -> Tensor:
    """Return which degree each node has, float32 ``(nodes, size)`` of 0 and 1.

    :param size: columns: one for each degree up to ``size - 2``, the last for more.
    """
    degree = torch.bincount(data.edge_index[0], minlength=int(data.num_nodes or 0))
    return F.one_hot(degree.clamp(max=size - 1), size).float()
