"""Baselines of TU sets: histograms and Weisfeiler-Leman features with a linear SVM.

    python -m mamba_graph.benchmarks.wl_svm --root ../shared/data/graph MUTAG PROTEINS

Ten folds with a nested hold-out: the penalty is chosen on one fifth of the training graphs, then
the machine is fitted on all of them. ``--root`` holds ``pyg/NAME/raw`` and ``folds/NAME.txt``.
Its published values check this program; the models are measured by the same folds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from torch_geometric.data import Data

from mamba_graph.data.config import Collection
from mamba_graph.data.read import read
from mamba_graph.graph_level.data import nested_fold, read_folds

Array = NDArray[np.float64]
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)
ROUNDS = 3
FEATURES = ("labels", "degrees", "wl3")


def node_labels(graph: Data) -> list[int]:
    """Return the label of each node, a column of ``x`` each; without any the degree."""
    if graph.x is None:
        return degrees(graph)
    return graph.x.argmax(1).tolist()


def degrees(graph: Data) -> list[int]:
    """Return the degree of each node."""
    count = np.bincount(graph.edge_index[0].numpy(), minlength=int(graph.num_nodes or 0))
    return count.tolist()


def histogram(values: Sequence[Sequence[int]]) -> sparse.csr_array:
    """Count each number per graph, columns divided by their largest count."""
    counts = _counts(values)
    most = counts.max(axis=0).toarray().ravel()
    return sparse.csr_array(counts @ sparse.diags_array(1 / np.maximum(most, 1)))


def weisfeiler_leman(graphs: Sequence[Data]) -> sparse.csr_array:
    """Count the colours of rounds 0 to 3 per graph, rows of length 1."""
    colours = [node_labels(graph) for graph in graphs]
    near = [_neighbours(graph) for graph in graphs]
    blocks = [_counts(colours)]
    for _ in range(ROUNDS):
        table: dict[tuple[int, tuple[int, ...]], int] = {}
        colours = [
            [
                table.setdefault((c, tuple(sorted(own[j] for j in joined))), len(table))
                for c, joined in zip(own, neighbours, strict=True)
            ]
            for own, neighbours in zip(colours, near, strict=True)
        ]
        blocks.append(_counts(colours))
    whole = sparse.csr_array(sparse.hstack(blocks))
    length = np.sqrt(whole.multiply(whole).sum(axis=1))
    return sparse.csr_array(sparse.diags_array(1 / length) @ whole)


def _neighbours(graph: Data) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in range(int(graph.num_nodes or 0))]
    for source, target in graph.edge_index.T.tolist():
        near[target].append(source)
    return near


def _counts(values: Sequence[Sequence[int]]) -> sparse.csr_array:
    rows = np.repeat(np.arange(len(values)), [len(v) for v in values])
    columns = np.concatenate([np.asarray(v, dtype=np.int64) for v in values])
    shape = (len(values), int(columns.max()) + 1)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def fold_accuracy(
    features: sparse.csr_array, y: NDArray[np.int64], parts: tuple[NDArray[np.int64], ...]
) -> float:
    """Choose the penalty on the held-out part (the largest on ties), refit, return the accuracy."""
    from sklearn.svm import LinearSVC

    def machine(penalty: float, rows: NDArray[np.int64]) -> LinearSVC:
        made = LinearSVC(C=penalty, max_iter=3000, random_state=0)
        return made.fit(part(rows), y[rows])

    def part(rows: NDArray[np.int64]) -> sparse.csr_array:
        chosen = features[rows]
        chosen.indices = chosen.indices.astype(np.int32)  # liblinear takes no others
        chosen.indptr = chosen.indptr.astype(np.int32)
        return chosen

    train, val, test = parts
    scores = [machine(c, train).score(part(val), y[val]) for c in PENALTIES]
    chosen = PENALTIES[len(scores) - 1 - int(np.argmax(scores[::-1]))]
    whole = np.sort(np.concatenate([train, val]))
    return float(machine(chosen, whole).score(part(test), y[test]))


def rows_of(root: Path, name: str, kinds: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return mean and deviation over the folds, in per cent, for each kind of features.

    ``majority`` is the share of the largest class in the whole set.
    """
    graphs = read(Collection(name=name, root=root / "pyg", attributes=False))
    y = np.array([int(graph.y) for graph in graphs])
    folds = read_folds(root / "folds" / f"{name}.txt", len(graphs))
    makers = {
        "labels": lambda: histogram([node_labels(g) for g in graphs]),
        "degrees": lambda: histogram([degrees(g) for g in graphs]),
        "wl3": lambda: weisfeiler_leman(graphs),
    }
    rows = {"majority": (100 * float(np.bincount(y).max() / len(y)), 0.0)}
    for kind in kinds:
        features = makers[kind]()
        parts = [nested_fold(folds, k) for k in range(1, folds.max() + 1)]
        found = [fold_accuracy(features, y, part) for part in parts]
        rows[kind] = (100 * float(np.mean(found)), 100 * float(np.std(found)))
    return rows


def main() -> None:
    """Print a line per set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", help="names of TU sets")
    parser.add_argument("--root", type=Path, required=True, help="folder with pyg/ and folds/")
    parser.add_argument("--features", nargs="+", default=FEATURES, choices=FEATURES)
    arguments = parser.parse_args()
    for name in arguments.sets:
        rows = rows_of(arguments.root, name, arguments.features)
        shown = {kind: f"{mean:.1f} ± {sd:.1f}" for kind, (mean, sd) in rows.items()}
        print(json.dumps({"set": name, **shown}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
