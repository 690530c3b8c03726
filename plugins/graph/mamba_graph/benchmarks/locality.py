"""What orders do to edges: how far apart in the sequence the two ends of an edge come.

    python -m mamba_graph.benchmarks.locality --root ../shared/data/graph/pyg PROTEINS ENZYMES

Per order, means over the first 200 graphs: of the distance over a graph's edges as a share of its
nodes, of the share of edges within four places (one convolution's width), and of milliseconds.
Node numbers are drawn first; ``file`` is the order of the file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from mamba_core import scan_orders
from mamba_core.training.data import epoch_order
from mamba_graph.data.config import Collection
from mamba_graph.data.read import read
from mamba_graph.orders import context_of

ORDERS = (
    "file",
    "node-shuffle",
    "degree(noise=true)",
    "pagerank",
    "eigenvector",
    "k-core",
    "bfs",
    "dfs",
    "rcm",
    "fiedler",
    "hops",
    "communities",
)
WINDOW = 4


def place_of(graph: Data, order: str, seed: int) -> Tensor:
    """Return each node's place under an order, its numbers drawn before, int64 ``(nodes,)``."""
    nodes = int(graph.num_nodes or 0)
    if order == "file":
        return torch.arange(nodes)
    drawn = epoch_order(nodes, seed, 0)
    number = torch.empty_like(drawn)
    number[drawn] = torch.arange(nodes)
    batch = torch.zeros(nodes, dtype=torch.int64)
    edges = torch.tensor([0, nodes], dtype=torch.int32)
    context = context_of(number[graph.edge_index], batch, edges)
    table = scan_orders.paths_of(scan_orders.get(order), context)[0]  # type: ignore[arg-type]
    return scan_orders.inverse(table).positions[number]


def measured(graphs: Sequence[Data], order: str) -> dict[str, float]:
    """Return the means over graphs of the means over their edges; graphs without are left out."""
    graphs = [graph for graph in graphs if graph.num_edges]
    shares, near = [], []
    start = time.process_time()
    for seed, graph in enumerate(graphs):
        place = place_of(graph, order, seed)
        apart = (place[graph.edge_index[0]] - place[graph.edge_index[1]]).abs().float()
        shares.append(float(apart.mean()) / int(graph.num_nodes or 1))
        near.append(float((apart <= WINDOW).float().mean()))
    spent = time.process_time() - start
    return {
        "mean": round(sum(shares) / len(shares), 3),
        "within_4": round(sum(near) / len(near), 2),
        "ms_per_graph": round(1000 * spent / len(graphs), 2),
    }


def main() -> None:
    """Print a line per set and order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", help="names of TU sets")
    parser.add_argument("--root", type=Path, required=True, help="folder with NAME/raw")
    parser.add_argument("--orders", nargs="+", default=ORDERS)
    parser.add_argument("--graphs", type=int, default=200)
    given = parser.parse_args()
    for name in given.sets:
        graphs = read(Collection(name=name, root=given.root))[: given.graphs]
        for order in given.orders:
            row = {"set": name, "order": order, **measured(graphs, order)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
