"""What this plugin offers. Imports nothing heavy: heavy parts are named as "module:attribute"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mamba_registry import ScanOrderSpec, TaskSpec, hookimpl

__mamba_api__ = (1, 0)

_GRAPHS = {
    "x": "float[nodes, features]",
    "edge_index": "int[2, edges]",
    "edge_attr": "float[edges, edge_features]",
    "encoding": "float[nodes, encodings]",
    "batch": "int[nodes]",
    "cu_seqlens": "int[graphs_and_one]",
}
_PRESETS = (
    "tiny",
    "graph_mamba",
    "graph_mamba_small",
    "graph_mamba_node",
    "gmn",
    "gmn_walks",
    "gred",
    "gcn",
    "gcn_tuned",
    "gin",
    "gatedgcn",
    "gps",
    "polynormer",
)
_ORDERS = (
    ("degree", "simple:Degree", "few edges first, hubs last (Graph-Mamba)"),
    ("node-shuffle", "simple:Shuffled", "drawn inside each graph"),
    ("degree-buckets", "simple:Buckets", "drawn buckets, each by degree (Graph-Mamba)"),
    ("node-rank", "simple:Ranked", "by places worked out ahead"),
    ("pagerank", "spectral:PageRank", "by PageRank"),
    ("eigenvector", "spectral:Eigenvector", "by eigenvector centrality"),
    ("fiedler", "spectral:Fiedler", "by each component's Fiedler vector"),
    ("k-core", "search:Core", "by core number, the outermost first"),
    ("bfs", "search:BreadthFirst", "breadth-first from a node of least degree"),
    ("dfs", "search:DepthFirst", "depth-first from a node of least degree"),
    ("rcm", "search:CuthillMcKee", "reverse Cuthill-McKee"),
    ("hops", "search:Hops", "by distance from a hub, the farthest first"),
    ("communities", "search:Communities", "Louvain communities one after another"),
)
_NAMES = tuple(name for name, _, _ in _ORDERS if name != "node-rank")
_SHARED: dict[str, Any] = {
    "presets": _PRESETS,
    "preset_fields": "mamba_graph.networks.presets:PRESETS",
    "default_preset": "graph_mamba_small",
    "scan_orders": _NAMES,
    "requires": ("torch_geometric", "networkx", "scipy", "pandas"),
}


@hookimpl
def mamba_tasks() -> Iterable[TaskSpec]:
    """Offer the tasks of this plugin."""
    return [
        TaskSpec(
            id="graph-cls",
            domain="graph",
            summary="which class a whole graph is of",
            config="mamba_graph.graph_level.config:GraphClassifierConfig",
            builder="mamba_graph.graph_level.model:GraphClassifier",
            example="mamba_graph.graph_level.model:classifier_example",
            data="mamba_graph.graph_level.data:GraphsDataset",
            data_config="mamba_graph.graph_level.config:GraphsData",
            loss="mamba_graph.graph_level.objective:classifier_loss",
            metrics="mamba_graph.graph_level.objective:classifier_metrics",
            metric_names=("accuracy",),
            predictor="mamba_graph.graph_level.predict:GraphClassPredictor",
            predict_config="mamba_graph.graph_level.config:GraphsPredict",
            train_config="mamba_graph.graph_level.config:GraphsTrain",
            inputs=_GRAPHS,
            outputs={"logits": "float[graphs, classes]"},
            card="mamba_graph:cards/graph-cls.md",
            **_SHARED,
        ),
        TaskSpec(
            id="graph-reg",
            domain="graph",
            summary="numbers that belong to a whole graph",
            config="mamba_graph.graph_level.config:GraphRegressorConfig",
            builder="mamba_graph.graph_level.model:GraphRegressor",
            example="mamba_graph.graph_level.model:regressor_example",
            data="mamba_graph.graph_level.data:GraphsDataset",
            data_config="mamba_graph.graph_level.config:GraphsData",
            loss="mamba_graph.graph_level.objective:regressor_loss",
            metrics="mamba_graph.graph_level.objective:regressor_metrics",
            metric_names=("rmse", "mae"),
            predictor="mamba_graph.graph_level.predict:GraphValuePredictor",
            predict_config="mamba_graph.graph_level.config:GraphsPredict",
            train_config="mamba_graph.graph_level.config:GraphsTrain",
            inputs=_GRAPHS,
            outputs={"values": "float[graphs, targets]"},
            card="mamba_graph:cards/graph-reg.md",
            **_SHARED,
        ),
        TaskSpec(
            id="graph-node",
            domain="graph",
            summary="which class each node of a graph is of",
            config="mamba_graph.node_level.config:NodeClassifierConfig",
            builder="mamba_graph.node_level.model:NodeClassifier",
            example="mamba_graph.node_level.model:example",
            data="mamba_graph.node_level.data:NodesDataset",
            data_config="mamba_graph.node_level.config:NodesData",
            loss="mamba_graph.node_level.objective:loss",
            metrics="mamba_graph.node_level.objective:metrics",
            metric_names=("accuracy", "roc_auc"),
            predictor="mamba_graph.node_level.predict:NodePredictor",
            predict_config="mamba_graph.node_level.config:NodesPredict",
            train_config="mamba_graph.node_level.config:NodesTrain",
            inputs=_GRAPHS,
            outputs={"logits": "float[nodes, classes]"},
            card="mamba_graph:cards/graph-node.md",
            **_SHARED,
        ),
        TaskSpec(
            id="graph-link",
            domain="graph",
            summary="whether two nodes of a graph are joined",
            config="mamba_graph.link_level.config:LinkConfig",
            builder="mamba_graph.link_level.model:LinkModel",
            example="mamba_graph.link_level.model:example",
            data="mamba_graph.link_level.data:LinksDataset",
            data_config="mamba_graph.link_level.config:LinksData",
            loss="mamba_graph.link_level.objective:loss",
            metrics="mamba_graph.link_level.objective:metrics",
            metric_names=("roc_auc", "accuracy"),
            predictor="mamba_graph.link_level.predict:LinkPredictor",
            predict_config="mamba_graph.link_level.config:LinksPredict",
            train_config="mamba_graph.link_level.config:LinksTrain",
            inputs={**_GRAPHS, "pairs": "int[2, pairs]"},
            outputs={"scores": "float[pairs]"},
            card="mamba_graph:cards/graph-link.md",
            **_SHARED,
        ),
    ]


@hookimpl
def mamba_scan_orders() -> Iterable[ScanOrderSpec]:
    """Offer the orders of nodes."""
    return [
        ScanOrderSpec(
            name=name, dims=None, order=f"mamba_graph.orders.{where}", summary=f"nodes {summary}"
        )
        for name, where, summary in _ORDERS
    ]
