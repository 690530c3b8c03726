"""Networks of all tasks by name: fields that differ from the configs' defaults."""

from __future__ import annotations

from typing import Any

_SCAN = {"name": "mamba1", "d_state": 16, "d_conv": 4, "expand": 1}

PRESETS: dict[str, dict[str, Any]] = {
    # for tests
    "tiny": {
        "d_model": 32,
        "mixer": {"name": "mamba1", "d_state": 4, "expand": 1},
        "network": {"kind": "graph_mamba", "depth": 2, "order": "degree"},
    },
    # Graph-Mamba's published layer and sizes for Peptides-struct: 4 layers of 96, and Laplacian
    # encoding; the number of eigenvectors there is 10
    "graph_mamba": {
        "d_model": 96,
        "mixer": _SCAN,
        "encoding": {"kind": "laplacian", "size": 10},
        "network": {"kind": "graph_mamba", "depth": 4},
        "draws": 5,
    },
    # the same layer, smaller and without noise: the model to start with on small graphs
    "graph_mamba_small": {
        "encoding": {"kind": "random_walk", "size": 16},
        "network": {
            "kind": "graph_mamba",
            "conv": "gin",
            "order": "rcm",
            "bidirectional": True,
            "dropout": 0.1,
        },
    },
    # one large graph, few answers, nodes like their neighbours (citations): GCN's message passing,
    # the features dropped; neither residuals, which let a network learn the few nodes by heart,
    # nor norms, which make the most of small differences
    "graph_mamba_node": {
        "d_model": 32,
        "feature_dropout": 0.5,
        "dropout": 0.5,
        "network": {
            "kind": "graph_mamba",
            "depth": 2,
            "conv": "gcn",
            "order": "rcm",
            "bidirectional": True,
            "residual": False,
            "norm": None,
            "dropout": 0.5,
        },
    },
    "gmn": {"mixer": _SCAN, "network": {"kind": "gmn"}},
    "gmn_walks": {"mixer": _SCAN, "network": {"kind": "gmn", "hops": 3}},
    "gred": {"network": {"kind": "gred"}},
    "gcn": {"network": {"kind": "convolutions", "conv": "gcn"}},
    "gcn_tuned": {
        "network": {
            "kind": "convolutions",
            "conv": "gcn",
            "depth": 4,
            "norm": "batch_norm",
            "residual": True,
            "dropout": 0.2,
        },
    },
    "gin": {
        "network": {
            "kind": "convolutions",
            "conv": "gin",
            "depth": 4,
            "norm": "batch_norm",
            "dropout": 0.0,
        },
    },
    "gatedgcn": {
        "network": {
            "kind": "convolutions",
            "conv": "gatedgcn",
            "depth": 4,
            "residual": True,
            "dropout": 0.0,
        },
    },
    "gps": {
        "encoding": {"kind": "random_walk", "size": 16},
        "network": {"kind": "gps", "dropout": 0.1},
    },
    "polynormer": {"network": {"kind": "polynormer"}},
}
