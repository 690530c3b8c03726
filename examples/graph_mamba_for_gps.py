"""A PyG script with ``GPSConv``, and the same with ``GraphMambaConv``: one line changes.

    python examples/graph_mamba_for_gps.py --root FOLDER [--name MUTAG] [--epochs 5]

``FOLDER`` holds ``MUTAG/raw``; with ``--download`` PyG fetches it there. The last part registers
an order of nodes of one's own and uses it by its name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GINEConv, GPSConv, global_mean_pool

from mamba_core import registry
from mamba_graph import GraphMambaConv
from mamba_graph.data.config import Collection
from mamba_graph.data.read import read
from mamba_graph.orders import NodeOrder

CHANNELS = 32


@registry.scan_order("busy-neighbours", dims=None, summary="by the degrees of a node's neighbours")
class BusyNeighbours(NodeOrder):
    """Nodes whose neighbours have few edges first; an application's own order."""

    def keys(self, graphs):
        return [graphs.gathered(graphs.degree), graphs.degree]


def gin() -> GINEConv:
    mlp = nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.ReLU(), nn.Linear(CHANNELS, CHANNELS))
    return GINEConv(mlp)


def layer(kind: str) -> nn.Module:
    if kind == "gps":
        return GPSConv(CHANNELS, gin(), heads=4)
    order = "rcm" if kind == "mamba" else "busy-neighbours"
    return GraphMambaConv(CHANNELS, gin(), order=order, bidirectional=True)


class Model(nn.Module):
    """Two layers between linear encoders and a linear head: as in PyG's own example of GPS."""

    def __init__(self, kind: str, features: int, edge_features: int, classes: int) -> None:
        super().__init__()
        self.nodes, self.edges = nn.Linear(features, CHANNELS), nn.Linear(edge_features, CHANNELS)
        self.layers = nn.ModuleList(layer(kind) for _ in range(2))
        self.head = nn.Linear(CHANNELS, classes)

    def forward(self, data):
        x, edges = self.nodes(data.x), self.edges(data.edge_attr)
        for each in self.layers:
            x = each(x, data.edge_index, data.batch, edge_attr=edges)
        return self.head(global_mean_pool(x, data.batch))


def train(kind: str, graphs, epochs: int) -> tuple[float, float]:
    """Return the last training loss and the accuracy on the graphs held out, one in five."""
    torch.manual_seed(0)
    drawn = torch.randperm(len(graphs)).tolist()
    held = [graphs[k] for k in drawn[: len(graphs) // 5]]
    rest = [graphs[k] for k in drawn[len(graphs) // 5 :]]
    features, edges = graphs[0].x.shape[1], graphs[0].edge_attr.shape[1]
    model = Model(kind, features, edges, 1 + max(int(g.y) for g in graphs))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    loss = torch.zeros(())
    for _ in range(epochs):
        model.train()
        for data in DataLoader(rest, batch_size=16, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data), data.y)
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = [model(d).argmax(1) == d.y for d in DataLoader(held, batch_size=16)]
    return loss.item(), torch.cat(right).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--name", default="MUTAG", help="a TU set with features and edge labels")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--download", action="store_true")
    given = parser.parse_args()
    graphs = read(Collection(name=given.name, root=given.root, download=given.download))
    for kind in ("gps", "mamba", "own order"):
        loss, accuracy = train(kind, graphs, given.epochs)
        print(f"{kind:10} loss {loss:.3f}  held-out accuracy {accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main()
