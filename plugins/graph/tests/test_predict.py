"""Trained models on what users have: Data, lists, NetworkX graphs, csv pairs."""

from __future__ import annotations

from functools import lru_cache

import networkx as nx
import pandas as pd
import pytest
import torch
from graph_cases import batched, colours, random_graph, renumbered
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.datasets import FakeDataset

from mamba_core import registry
from mamba_core.testing import parametrize_task_checks
from mamba_graph import GraphError
from mamba_graph.data.given import from_networkx
from mamba_graph.graph_level.predict import GraphClassPredictor, GraphValuePredictor
from mamba_graph.link_level.predict import LinkPredictor
from mamba_graph.node_level.predict import NodePredictor


@parametrize_task_checks("graph-node")
def test_graph_node_conformance(check):
    check()


@parametrize_task_checks("graph-link")
def test_graph_link_conformance(check):
    check()


def model(task, **fields):
    torch.manual_seed(0)
    return registry.build(task, preset="tiny", features=4, **fields).eval()


def test_data_lists_and_batches_agree(mixed_sizes):
    predictor = GraphClassPredictor(model("graph-cls", classes=3))
    table = predictor.table(mixed_sizes)
    assert table.columns.tolist() == ["graph", "class", "p_0", "p_1", "p_2"]
    pd.testing.assert_frame_equal(table, predictor.table(batched(*mixed_sizes)))
    for k, graph in enumerate(mixed_sizes):
        alone = predictor.table(graph).assign(graph=k)
        expected = table.iloc[[k]].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, expected, rtol=1e-4, atol=1e-5)


def test_any_iterable_of_graphs(mixed_sizes):
    """A tuple, a generator, one of PyG's data sets."""
    predictor = GraphClassPredictor(model("graph-cls"))
    expected = predictor.table(mixed_sizes)
    pd.testing.assert_frame_equal(predictor.table(graph for graph in mixed_sizes), expected)
    made = FakeDataset(num_graphs=3, num_channels=4)
    pd.testing.assert_frame_equal(predictor.table(made), predictor.table(list(made)))
    with pytest.raises(GraphError, match="graph 0 is a str"):
        predictor.table("molecules.csv")


def test_file_order_does_not_leak():
    """On a graph whose nodes features tell apart, for a deterministic order."""
    graph = random_graph(25, 40, 3)
    graph.x[:, 0] = torch.arange(25)
    moved, place = renumbered(graph)
    values = GraphValuePredictor(model("graph-reg"))
    one, two = values.table(graph), values.table(moved)
    assert one["value_0"].item() == pytest.approx(two["value_0"].item(), abs=1e-5)
    nodes = NodePredictor(model("graph-node"))
    one, two = nodes.table(graph), nodes.table(moved)
    torch.testing.assert_close(
        torch.tensor(one["p_0"].to_numpy()),
        torch.tensor(two["p_0"].to_numpy())[place],
        atol=1e-5,
        rtol=1e-4,
    )


FIXED = ("degree", "bfs", "dfs", "rcm", "hops", "k-core", "pagerank", "eigenvector")


@lru_cache
def reader(order):
    """A predictor by one order, both ways, without message passing: only the scan reads."""
    network = {"kind": "graph_mamba", "depth": 1, "order": order, "bidirectional": True}
    network |= {"conv": None}
    return GraphClassPredictor(model("graph-cls", network=network))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.integers(0, 20), st.integers(0, 10**6), st.sampled_from(FIXED))
def test_numbers_leave_predictions_alone_where_wl_tells_nodes_apart(nodes, edges, seed, order):
    graph = random_graph(nodes, edges, seed)
    if len(set(colours(graph))) < nodes:
        graph.x[:, 0] = torch.arange(nodes)  # then features do
    one = reader(order).table(graph)
    two = reader(order).table(renumbered(graph, seed)[0])
    pd.testing.assert_frame_equal(one, two, rtol=1e-4, atol=1e-5)


def as_networkx(graph):
    made = nx.Graph()
    for k, row in enumerate(graph.x.tolist()):
        made.add_node(f"n{k}", x=row)
    made.add_edges_from((f"n{a}", f"n{b}") for a, b in graph.edge_index.T.tolist())
    return made


def test_networkx_graphs():
    graph = random_graph(12, 20, 1).coalesce()
    found = from_networkx(as_networkx(graph)).coalesce()
    assert torch.equal(found.edge_index, graph.edge_index)
    assert torch.equal(found.x, graph.x)
    predictor = GraphClassPredictor(model("graph-cls"))
    pd.testing.assert_frame_equal(predictor.table(as_networkx(graph)), predictor.table(graph))
    partly = as_networkx(graph)
    del partly.nodes["n3"]["x"]
    with pytest.raises(GraphError, match="node 3 has no attribute 'x', others have one"):
        predictor.table(partly)
    graph = nx.path_graph(3)
    nx.set_node_attributes(graph, "C", "x")
    with pytest.raises(GraphError, match="'x' must hold as many numbers for every node"):
        from_networkx(graph)
    with pytest.raises(GraphError, match="the list is empty"):
        predictor.table([])


@pytest.fixture
def pair(tmp_path):
    """Two graphs in n.csv and n_edges.csv, and the same as Data."""
    graphs = [random_graph(6, 8, 1).coalesce(), random_graph(9, 12, 2).coalesce()]
    nodes, edges = [], []
    for name, graph in zip("ab", graphs, strict=True):
        table = pd.DataFrame(graph.x.numpy(), columns=list("wxyz"))
        nodes.append(table.assign(graph=name, id=[f"v{k}" for k in range(graph.num_nodes)]))
        ends = graph.edge_index[:, graph.edge_index[0] <= graph.edge_index[1]]
        source, target = ([f"v{k}" for k in row] for row in ends.tolist())
        edges.append(pd.DataFrame({"graph": name, "source": source, "target": target}))
    pd.concat(nodes).to_csv(tmp_path / "n.csv", index=False)
    pd.concat(edges).to_csv(tmp_path / "n_edges.csv", index=False)
    return tmp_path, graphs


def test_csv_pairs(pair):
    folder, graphs = pair
    predictor = GraphClassPredictor(model("graph-cls"))
    seen = []
    rows = predictor.run(
        [folder / "n.csv"], folder / "out", progress=lambda *args: seen.append(args)
    )
    assert (rows[0]["rows"], seen) == (2, [("n.csv", 1, 1)])
    written = pd.read_csv(folder / "out" / "n_classes.csv")
    assert written["graph"].tolist() == ["a", "b"]
    expected = predictor.table(graphs)["p_0"]
    assert written["p_0"].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    with pytest.raises(FileExistsError):
        predictor.run([folder / "n.csv"], folder / "out")
    with pytest.raises(FileNotFoundError):
        predictor.run([folder / "gone.csv"], folder / "out")


def test_nodes_and_links_of_one_table(pair):
    folder, _ = pair
    for name in ("n.csv", "n_edges.csv"):
        table = pd.read_csv(folder / name)
        table[table["graph"] == "b"].drop(columns="graph").to_csv(folder / name, index=False)
    NodePredictor(model("graph-node")).run([folder / "n.csv"], folder / "out")
    nodes = pd.read_csv(folder / "out" / "n_classes.csv")
    assert nodes["node"].tolist() == [f"v{k}" for k in range(9)]
    links = LinkPredictor(model("graph-link"))
    links.run([folder / "n.csv"], folder / "out")
    found = pd.read_csv(folder / "out" / "n_links.csv")
    edges = pd.read_csv(folder / "n_edges.csv")
    joined = {frozenset(e) for e in edges[["source", "target"]].to_numpy().tolist()}
    assert not [
        e for e in found[["source", "target"]].to_numpy().tolist() if frozenset(e) in joined
    ]
    assert found.groupby("source")["p"].is_monotonic_decreasing.all()
    both = {(s, t): p for s, t, p in found[["source", "target", "p"]].to_numpy().tolist()}
    assert all(both[t, s] == pytest.approx(p, abs=1e-5) for (s, t), p in both.items())


def test_a_little_training_learns_something():
    """Triangles against squares: structure only."""
    from mamba_graph.benchmarks.fit import FitOptions, fit, measure
    from mamba_graph.data.samples import prepared
    from mamba_graph.graph_level.data import GraphSplit

    fields = {"features": 1, "encoding": {"kind": "random_walk", "size": 4}}
    trained = registry.build("graph-cls", preset="tiny", **fields)
    samples = []
    for k in range(24):
        sides = 3 + k % 2
        data = from_networkx(nx.disjoint_union_all([nx.cycle_graph(sides)] * 3))
        data.x = torch.ones(3 * sides, 1)
        samples.append({**prepared(data, trained.config, "g"), "y": torch.tensor(k % 2)})
    split = GraphSplit(samples, seed=0)
    options = FitOptions(epochs=15, batch_size=8, lr=1e-2)
    done = fit("graph-cls", trained, split, split, options, "accuracy")
    assert measure("graph-cls", done.model, split, 8)["accuracy"] > 0.9
