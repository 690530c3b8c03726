"""Time and memory of a training step against the nodes of one graph.

    python -m mamba_graph.benchmarks.scaling --nodes 1000 10000 100000 1000000

A random graph of mean degree 4, one layer of 32 channels around the same GCN: a scan by degree,
GPS with exact attention, GPS with Performer, and the GCN alone. Every point runs in a process of
its own, so that its peak is its own; a point that asks for more than ``--gib`` or takes over
``--limit`` seconds is written down as such, and larger ones of that layer are left out. Before
anything is timed the scan's result is held against one graph at a time.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch_geometric.nn import GCNConv, GPSConv

from mamba_core.bench.alone import alone, peak_mib
from mamba_graph.benchmarks.record import Record, Row
from mamba_graph.data.made import random_regular
from mamba_graph.nn import GraphMambaConv

CHANNELS = 32
LAYERS = ("gcn", "graph_mamba", "gps_performer", "gps_attention")
REPEATS = 3
LONG = 5.0
"""Seconds of steps after which no further one is taken."""


def make_layer(name: str) -> nn.Module:
    """Build one of :data:`LAYERS`."""
    conv = GCNConv(CHANNELS, CHANNELS)
    if name == "gcn":
        return conv
    if name == "graph_mamba":
        return GraphMambaConv(CHANNELS, conv, order="degree")
    kind = "performer" if name == "gps_performer" else "multihead"
    return GPSConv(CHANNELS, conv, heads=4, attn_type=kind)


def check() -> None:
    """Hold a packed result against one graph at a time.

    :raises AssertionError: when they differ by more than 1e-5.
    """
    torch.manual_seed(0)
    layer = make_layer("graph_mamba").eval()
    parts = [random_regular(size, 4, size) for size in (7, 40, 1)]
    sizes = torch.tensor([7, 40, 1])
    x = torch.randn(48, CHANNELS)
    starts = [0, 7, 47]
    edges = torch.cat([e + s for e, s in zip(parts, starts, strict=True)], dim=1)
    batch = torch.repeat_interleave(torch.arange(3), sizes)
    with torch.no_grad():
        together = layer(x, edges, batch)
        alone = torch.cat(
            [layer(p, e) for p, e in zip(x.split(sizes.tolist()), parts, strict=True)]
        )
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def point(name: str, nodes: int) -> Row:
    """Return processor seconds per step (the median of three, or one long one) and the peak.

    The peak is in MiB above what the process held before the first step.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layer = make_layer(name).train()
    edges = random_regular(nodes, 4)
    x = torch.randn(nodes, CHANNELS)
    batch = torch.zeros(nodes, dtype=torch.int64)
    before = peak_mib()
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < LONG:
        start = time.process_time()
        out_x = layer(x, edges) if name == "gcn" else layer(x, edges, batch)
        out_x.square().mean().backward()
        times.append(time.process_time() - start)
    seconds = sorted(times)[len(times) // 2]
    return {"cpu_seconds": round(seconds, 3), "peak_mib": peak_mib() - before}


def main() -> None:
    """Print a line per layer and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--layers", nargs="+", default=LAYERS, choices=LAYERS)
    parser.add_argument("--limit", type=int, default=120, help="processor seconds per point")
    parser.add_argument("--gib", type=float, default=12, help="of memory per point")
    parser.add_argument("--record", type=Path, help="file of results; runs in it are not repeated")
    given = parser.parse_args()
    check()
    record = Record(given.record)
    for name in given.layers:
        for nodes in sorted(given.nodes):
            run = partial(point, name, nodes)
            row = record.once(
                {"layer": name, "nodes": nodes},
                partial(alone, run, seconds=given.limit, gib=given.gib),
            )
            print(json.dumps(row), flush=True)
            if "failed" in row:
                break


if __name__ == "__main__":
    main()
