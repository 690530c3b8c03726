"""Graphs in: what is refused and how, parts, samples, encodings; nodes and links."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from graph_cases import random_graph, renumbered
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.loader import DataLoader
from torch_geometric.utils import to_dense_adj

from mamba_core import registry
from mamba_graph import GraphError
from mamba_graph.data.check import check_graph
from mamba_graph.data.config import Tables
from mamba_graph.data.encode import degree_columns, encoding_of, laplacian_vectors
from mamba_graph.data.partition import induced, partition
from mamba_graph.data.samples import packed, prepared, shuffled
from mamba_graph.graph_level.data import answer, drawn_parts, nested_fold
from mamba_graph.link_level.config import LinksData
from mamba_graph.link_level.data import LinksDataset, single
from mamba_graph.networks.config import Laplacian, RandomWalk
from mamba_graph.node_level.config import NodesData
from mamba_graph.node_level.data import NodesDataset, region
from mamba_graph.node_level.objective import roc_auc

NONE = torch.zeros(2, 0, dtype=torch.int64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(x=torch.zeros(0, 2), edge_index=NONE), "has no nodes: leave it out"),
        (Data(x=torch.zeros(3, 2), edge_index=torch.tensor([[0], [3]])), "nodes 0 to 3, there are"),
        (Data(x=torch.zeros(3, 2), edge_index=torch.tensor([[-1], [2]])), "nodes -1 to 2"),
        (Data(x=torch.zeros(3, 2), edge_index=NONE.int()), r"int32 of shape \(2, 0\)"),
        (Data(x=torch.zeros(3, 2), edge_index=NONE.T), r"shape \(0, 2\)"),
        (Data(x=torch.zeros(3, 2)), "no edge_index"),
        (Data(edge_index=torch.tensor([[0], [1]])), "neither x nor num_nodes"),
        (
            Data(x=torch.tensor([[0.0], [torch.nan]]), edge_index=NONE),
            "x is not finite at node 1",
        ),
        (Data(x=torch.zeros(3, 2), num_nodes=4, edge_index=NONE), "one row for each of 4 nodes"),
        (
            Data(x=torch.zeros(3, 2), edge_index=NONE, edge_attr=torch.zeros(1, 1)),
            "one row for each of 0 edges",
        ),
        (Data(x=1e39 * torch.ones(2, 1).double(), edge_index=NONE), "x is not finite at node 0"),
        (Data(x=torch.zeros(2, 1).cfloat(), edge_index=NONE), "x is a torch.complex64, not a"),
        (Data(x=np.zeros((2, 1)), edge_index=NONE, num_nodes=2), "x is a ndarray, not a tensor"),
        (Data(x=torch.zeros(2, 1), edge_index=[[0], [1]]), "edge_index is a list, not a tensor"),
        (HeteroData(), "to_homogeneous"),
        ("graph", "is a str, not a torch_geometric Data"),
    ],
)
def test_bad_graphs_are_refused_by_name(data, message):
    with pytest.raises(GraphError, match="graph 7.*" + message):
        check_graph(data, "graph 7")


def test_an_answer_that_is_not_finite_is_refused():
    with pytest.raises(GraphError, match="graph 3: y has values that are not finite"):
        answer(torch.tensor([torch.inf]), config(), 3)


def test_odd_graphs_are_fine(mixed_sizes):
    for graph in mixed_sizes:
        assert check_graph(graph, "g") is graph


def config(**fields):
    return registry.config("graph-cls", preset="tiny", **{"features": 4, **fields})


def test_graphs_that_do_not_fit_the_model():
    with pytest.raises(GraphError, match="graph 2 has 4 numbers per node, the model reads"):
        prepared(random_graph(3, 3), config(features=5), "graph 2")
    with pytest.raises(GraphError, match="0 numbers per edge, the model reads edge_features = 2"):
        prepared(random_graph(3, 3), config(edge_features=2), "graph 2")
    with pytest.raises(GraphError, match="no number of a category"):
        prepared(random_graph(9, 9), config(categories=(3, 3, 3, 2)), "graph 2")


@pytest.mark.parametrize("shape", [(0,), (0, 1)])
def test_no_edges_have_features_too(shape):
    """A molecule of one atom: nothing to take the number of columns from but the shape."""
    data = Data(x=torch.zeros(1, 4), edge_index=NONE, edge_attr=torch.zeros(shape))
    assert prepared(data, config(edge_features=1), "g")["edge_attr"].shape == (0, 1)


def test_a_graph_without_edges_says_nothing_of_their_features():
    """NetworkX gives a molecule of one atom no edge_attr at all."""
    data = Data(x=torch.zeros(1, 4), edge_index=NONE)
    assert prepared(data, config(edge_features=3), "g")["edge_attr"].shape == (0, 3)


def test_degrees_in_place_of_features():
    data = Data(edge_index=torch.tensor([[0, 0, 0, 1], [1, 2, 3, 0]]), num_nodes=5)
    assert degree_columns(data, 4).argmax(1).tolist() == [3, 1, 0, 0, 0]
    assert degree_columns(data, 3).argmax(1).tolist() == [2, 1, 0, 0, 0]
    read = prepared(data, config(degrees=True), "g")
    assert torch.equal(read["x"], degree_columns(data, 4))


def test_features_and_degrees_are_not_mistaken_for_each_other():
    bare = Data(edge_index=NONE, num_nodes=3)
    with pytest.raises(GraphError, match=r"graph 2 has no node features.* with degrees = true"):
        prepared(bare, config(), "graph 2")
    with pytest.raises(GraphError, match="graph 2 has node features, the model reads degrees"):
        prepared(random_graph(3, 3), config(degrees=True), "graph 2")
    with pytest.raises(registry.ConfigError, match="no categories"):
        config(degrees=True, categories=(2, 2, 2, 2))


def test_shuffling_moves_everything_along():
    data = random_graph(12, 20, 1)
    sample = {**prepared(data, config(), "g"), "node_y": torch.arange(12)}
    moved = shuffled(sample, 3, 5)
    order = moved["node_y"]
    assert sorted(order.tolist()) == list(range(12))
    assert torch.equal(moved["x"], sample["x"][order])
    assert torch.equal(order[moved["edge_index"]], sample["edge_index"])
    assert not torch.equal(shuffled(sample, 3, 6)["node_y"], order)
    assert torch.equal(shuffled(sample, 3, 5)["node_y"], order)


def test_packing_is_pygs_batching(mixed_sizes):
    batch = packed([prepared(g, config(), "g") for g in mixed_sizes])
    theirs = Batch.from_data_list(mixed_sizes)
    assert torch.equal(batch["x"], theirs.x)
    assert torch.equal(batch["edge_index"], theirs.edge_index)
    assert torch.equal(batch["batch"], theirs.batch)
    assert torch.equal(batch["cu_seqlens"], theirs.ptr.int())


def test_a_plain_data_loader_works(mixed_sizes):
    from mamba_graph import GraphMambaConv

    layer = GraphMambaConv(4, None, mixer={"name": "mamba1", "d_state": 2}).eval()
    sizes = [len(layer(data.x, data.edge_index, data.batch)) for data in DataLoader(mixed_sizes, 4)]
    assert sum(sizes) == sum(g.num_nodes for g in mixed_sizes)


# encodings


def test_random_walks_against_the_dense_formula():
    data = random_graph(15, 30, 2)
    found = encoding_of(data, RandomWalk(size=6))
    adjacency = to_dense_adj(data.edge_index.unique(dim=1), max_num_nodes=15)[0].double()
    # PyG divides by the number of stored edges, duplicates counted, and keeps one of each
    degree = torch.bincount(data.edge_index[0], minlength=15).clamp(min=1).double()
    step = adjacency / degree[:, None]
    power = torch.eye(15).double()
    for k in range(6):
        power = power @ step
        torch.testing.assert_close(found[:, k].double(), power.diagonal(), rtol=1e-4, atol=1e-5)


def test_laplacian_vectors_are_what_they_say():
    data = random_graph(20, 60, 3).coalesce()
    vectors = laplacian_vectors(data, 4)
    moved, place = renumbered(data)
    torch.testing.assert_close(vectors, laplacian_vectors(moved, 4)[place], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(4), atol=1e-4, rtol=1e-4)
    assert (vectors.double() ** 3).sum(0).min() >= -1e-6
    small = laplacian_vectors(random_graph(2, 1), 4)
    assert small.shape == (2, 4)
    assert not small[:, 1:].any()
    assert encoding_of(random_graph(1, 0), Laplacian(size=3)).shape == (1, 3)


# parts


def test_nested_folds_are_the_papers():
    folds = np.array([0, 1, 2, 1, 2, 2, 1, 2, 2, 2, 2, 2])
    train, val, test = nested_fold(folds, 1)
    assert test.tolist() == [1, 3, 6]
    rest = [k for k in range(12) if k not in test]
    drawn = np.random.RandomState(0).permutation(9)
    assert val.tolist() == sorted(rest[k] for k in drawn[:1])
    assert sorted([*train, *val, *test]) == list(range(12))
    with pytest.raises(GraphError, match="fold = 3 tests no graph"):
        nested_fold(folds, 3)


def test_drawn_parts():
    train, val, test = drawn_parts(1128, 0.1, 0.1, 4)
    assert (len(train), len(val), len(test)) == (902, 113, 113)
    assert train.tolist() == np.random.default_rng(4).permutation(1128)[:902].tolist()


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_regions_share_the_nodes_out(parts):
    data = random_graph(100, 130, 4)
    found = partition(data.edge_index, 100, parts, seed=1)
    assert sorted(torch.cat(found).tolist()) == list(range(100))
    assert max(map(len, found)) <= -(-100 // parts)
    again = partition(data.edge_index, 100, parts, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_regions_hold_together():
    """Of a 20 x 20 grid four regions cut few edges: far fewer than parts drawn by chance."""
    ids = torch.arange(400).reshape(20, 20)
    ends = [(ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])]
    edges = torch.cat([torch.stack([a.flatten(), b.flatten()]) for a, b in ends], 1)
    edges = torch.cat([edges, edges.flip(0)], 1)
    kept = sum(induced(edges, p, 400)[0].shape[1] for p in partition(edges, 400, 4, seed=0))
    assert kept > 0.75 * edges.shape[1]


def test_induced_edges():
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    inner, inside = induced(edges, torch.tensor([1, 2, 3]), 4)
    assert inner.tolist() == [[0, 1], [1, 2]]
    assert inside.tolist() == [False, True, True, False]


# nodes and links


@pytest.fixture
def grid(tmp_path):
    """One 12 x 12 grid in tables; the class says in which half a node lies."""
    ids = np.arange(144).reshape(12, 12)
    pairs = [(ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])]
    ends = np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in pairs], axis=1)
    pd.DataFrame({"source": ends[0], "target": ends[1]}).to_csv(tmp_path / "e.csv", index=False)
    table = {
        "id": ids.ravel(),
        "row": ids.ravel() // 12,
        "half": (ids.ravel() % 12 > 5).astype(int),
    }
    pd.DataFrame(table).to_csv(tmp_path / "n.csv", index=False)
    return tmp_path


def test_node_parts_and_regions(grid):
    given = Tables(nodes=grid / "n.csv", edges=grid / "e.csv", target="half")
    model = registry.config("graph-node", preset="tiny", features=1)
    data = NodesDataset(NodesData(source=given, parts=3), model)
    masks = [data.masks[0][part] for part in ("train", "val", "test")]
    assert torch.equal(sum(m.long() for m in masks), torch.ones(144, dtype=torch.int64))
    train = data.train(seed=0)
    assert len(train) == 3
    regions = [train.sample(2, k) for k in range(3)]
    assert sum(len(r["x"]) for r in regions) == 144
    assert sum(int(r["node_mask"].sum()) for r in regions) == int(masks[0].sum())
    one, again = train.sample(1, 1), train.sample(1, 1)
    assert all(torch.equal(one[n], again[n]) for n in one)
    assert len(data.test(seed=0)) == 1
    whole = data.test(seed=0).sample(0, 0)
    assert whole["edge_index"].shape[1] == 2 * 264
    cut = region(data.graphs[0], torch.arange(24))
    assert cut["edge_index"].max() == 23


def test_nodes_without_an_answer_are_in_no_part(grid):
    """A table with gaps in its target: the others are parted."""
    given = Tables(nodes=grid / "n.csv", edges=grid / "e.csv", target="half")
    nodes = pd.read_csv(grid / "n.csv")
    model = registry.config("graph-node", preset="tiny", features=1)
    nodes.assign(half=nodes["half"].where(nodes["id"] > 43)).to_csv(grid / "n.csv", index=False)
    (masks,) = NodesDataset(NodesData(source=given), model).masks
    assert [int(mask.sum()) for mask in masks.values()] == [60, 20, 20]
    assert not any(mask[:44].any() for mask in masks.values())
    nodes.assign(half=0.5).to_csv(grid / "n.csv", index=False)
    with pytest.raises(GraphError, match=r"has nodes of class 0\.5; the model knows 0 to 1"):
        NodesDataset(NodesData(source=given), model)
    nodes.assign(half=np.nan).to_csv(grid / "n.csv", index=False)
    with pytest.raises(GraphError, match="graph 0 has no node whose class is known"):
        NodesDataset(NodesData(source=given), model)


def test_links_hide_what_is_asked_for(grid):
    given = Tables(nodes=grid / "n.csv", edges=grid / "e.csv")
    model = registry.config("graph-link", preset="tiny", features=2)
    data = LinksDataset(LinksData(source=given), model)
    every = {tuple(e) for e in data.parts[0][0].T.tolist()}
    assert len(every) == 264
    for part, seen in (("train", 224), ("val", 225), ("test", 238)):
        sample = getattr(data, part)(seed=0).sample(3, 0)
        y = sample["pair_y"] > 0.5
        assert int(y.sum()) == int((~y).sum())
        shown = {tuple(e) for e in single(sample["edge_index"]).T.tolist()}
        asked = {tuple(sorted(e)) for e in sample["pairs"][:, y].T.tolist()}
        assert not shown & asked
        assert len(shown) <= seen
        assert not shown & {tuple(sorted(e)) for e in sample["pairs"][:, ~y].T.tolist()}
    train = data.train(seed=0)
    assert not torch.equal(train.sample(0, 0)["pairs"], train.sample(1, 0)["pairs"])
    with pytest.raises(GraphError, match="edge_features = 0"):
        LinksDataset(LinksData(source=given), registry.config("graph-link", edge_features=1))


def test_hidden_edges_do_not_tell_by_the_encoding(grid):
    given = Tables(nodes=grid / "n.csv", edges=grid / "e.csv")
    encoding = {"kind": "random_walk", "size": 4}
    model = registry.config("graph-link", preset="tiny", features=2, encoding=encoding)
    sample = LinksDataset(LinksData(source=given), model).test(seed=0).sample(0, 0)
    graph = Data(edge_index=sample["edge_index"], num_nodes=144)
    torch.testing.assert_close(sample["encoding"], encoding_of(graph, RandomWalk(size=4)))


def test_roc_auc_is_sklearns():
    metrics = pytest.importorskip("sklearn.metrics")
    scores = torch.randint(6, (80,)).float()
    positive = torch.rand(80) < 0.3
    expected = metrics.roc_auc_score(positive, scores)
    assert roc_auc(scores, positive).item() == pytest.approx(expected, abs=1e-6)
    assert roc_auc(scores, torch.ones(80, dtype=torch.bool)) is None
