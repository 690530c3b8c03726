"""Search for the best items among very many: an index for approximate search, where faiss is.

Without it (or with ``exact=True``) search is exact, in blocks: :mod:`mamba_recsys.topk`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mamba_core.registry import DependencyMissingError
from mamba_recsys.interactions import InteractionError
from mamba_recsys.topk import top_k

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores, falling, and numbers of items ``(users, k)``."""


class ExactIndex:
    """All inner products, block by block.

    :param vectors: of the items, ``(items, d)``.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = torch.from_numpy(np.ascontiguousarray(vectors))

    def search(self, users: NDArray[np.float32], k: int) -> Found:
        """Return the ``k`` best items of each user's vector."""
        scores, numbers = top_k(torch.from_numpy(users), self.vectors, k)
        return scores.numpy(), numbers.numpy()


class FaissIndex:
    """A graph over the items' vectors (HNSW, 1603.09320) that finds almost all of the best ones.

    :param vectors: of the items, ``(items, d)``.
    :param links: of each item in the graph.
    :param effort: candidates that a search keeps; more find more and take longer.
    :raises DependencyMissingError: without faiss.
    """

    def __init__(self, vectors: NDArray[np.float32], *, links: int = 32, effort: int = 128) -> None:
        faiss = _faiss()
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], links, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = max(effort, 2 * links)
        self.index.hnsw.efSearch = effort
        self.index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def search(self, users: NDArray[np.float32], k: int) -> Found:
        """Return about the ``k`` best items of each user's vector."""
        scores, numbers = self.index.search(np.ascontiguousarray(users, dtype=np.float32), k)
        return scores, numbers

    def write(self, path: Path) -> None:
        """Write the index as faiss reads it."""
        _faiss().write_index(self.index, str(path))


def export_vectors(folder: Path, vectors: NDArray[np.float32], ids: NDArray[Any]) -> list[Path]:
    """Write what a search service needs: ``vectors.npy``, ``ids.npy`` and, with faiss, an index.

    :param folder: made when it is not there.
    :param ids: raw ids in the order of the vectors.
    :returns: the files; ``items.faiss`` is among them where faiss is installed.
    :raises InteractionError: for a folder that holds such files already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "vectors.npy", folder / "ids.npy"]
    taken = [path for path in (*paths, folder / "items.faiss") if path.exists()]
    if taken:
        raise InteractionError(f"{taken[0]} is there already: choose another folder")
    np.save(paths[0], vectors)
    np.save(paths[1], ids.astype(str) if ids.dtype.kind == "O" else ids)
    if importlib.util.find_spec("faiss") is not None:
        FaissIndex(vectors).write(folder / "items.faiss")
        paths.append(folder / "items.faiss")
    return paths


def _faiss() -> Any:
    if importlib.util.find_spec("faiss") is None:
        raise DependencyMissingError("this index needs faiss: pip install 'mamba-recsys[ann]'")
    import faiss

    return faiss
