"""Node orders: permutations inside each graph, packed as alone, blind to the nodes' numbers."""

from __future__ import annotations

import importlib
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from graph_cases import batched, colours, random_graph, renumbered
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.utils import to_networkx

from mamba_core import registry, scan_orders
from mamba_graph import GraphError
from mamba_graph.orders import AddNodeRank, Graphs, NodeOrder, context_of, edges_of, node_noise
from mamba_graph.orders.mixing import hashed_rows, mixed
from mamba_graph.orders.search import Relabelled, core_numbers
from mamba_graph.orders.walks import neighbours_first, walks
from mamba_graph.plugin import _NAMES

NAMES = (*_NAMES, "degree(noise=true)", "degree:reverse")
DRAWN = ("node-shuffle", "degree-buckets", "degree(noise=true)")
FIXED = tuple(name for name in _NAMES if name not in DRAWN)


def context(data, features=True):
    batch = torch.zeros(data.num_nodes, dtype=torch.int64) if data.batch is None else data.batch
    cu_seqlens = edges_of(batch, int(batch[-1]) + 1)
    return context_of(data.edge_index, batch, cu_seqlens, features=data.x if features else None)


def order_of(name, data, features=True):
    return scan_orders.paths_of(scan_orders.get(name), context(data, features))[0]


@pytest.mark.parametrize("name", NAMES)
def test_packed_is_one_graph_at_a_time(name, mixed_sizes):
    order = order_of(name, batched(*mixed_sizes))
    start = 0
    for graph in mixed_sizes:
        own = order_of(name, graph)
        assert sorted(own.tolist()) == list(range(graph.num_nodes))
        assert (order[start : start + graph.num_nodes] - start).tolist() == own.tolist()
        start += graph.num_nodes


@pytest.mark.parametrize("name", NAMES)
def test_the_inverse_restores(name, mixed_sizes):
    data = batched(*mixed_sizes)
    order = order_of(name, data)
    assert torch.equal(scan_orders.inverse(order).restore(data.x[order]), data.x)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 14), st.integers(0, 24), st.integers(0, 10**6))
def test_numbers_do_not_matter_where_wl_tells_nodes_apart(nodes, edges, seed):
    data = random_graph(nodes, edges, seed)
    apart = len(set(colours(data))) == nodes
    if not apart:
        data.x[:, 0] = torch.arange(nodes)  # then features do
    moved, place = renumbered(data, seed)
    for name in FIXED:
        if name == "fiedler":
            continue  # not unique on symmetric graphs: see below
        assert torch.equal(place[order_of(name, data)], order_of(name, moved)), name


def test_fiedler_of_a_graph_without_symmetry():
    data = random_graph(40, 90, 5)
    moved, place = renumbered(data)
    assert torch.equal(place[order_of("fiedler", data)], order_of("fiedler", moved))


def path_graph(nodes, seed=3):
    ends = torch.stack([torch.arange(nodes - 1), torch.arange(1, nodes)])
    data = random_graph(nodes, 0)
    data.edge_index = torch.cat([ends, ends.flip(0)], 1)
    return renumbered(data, seed)


@pytest.mark.parametrize("name", ["fiedler", "rcm", "bfs", "dfs"])
def test_a_path_is_read_from_end_to_end(name):
    data, place = path_graph(17)
    along = scan_orders.inverse(place).positions[order_of(name, data)]
    assert (along.diff().abs() == 1).all()


def test_degree_puts_hubs_last_and_features_break_ties():
    data = random_graph(30, 60, 3)
    graphs = Graphs.of(context(data))
    degree = graphs.degree[order_of("degree", data)]
    assert (degree.diff() >= 0).all()
    # a star: its leaves differ by features only
    data.edge_index = torch.stack([torch.arange(1, 30), torch.zeros(29, dtype=torch.int64)])
    data.edge_index = torch.cat([data.edge_index, data.edge_index.flip(0)], 1)
    data.x = torch.arange(30.0)[:, None]
    moved, place = renumbered(data)
    assert order_of("degree", data)[-1] == 0
    assert torch.equal(place[order_of("degree", data)], order_of("degree", moved))


def test_against_networkx():
    data = random_graph(60, 120, 7)
    graph = to_networkx(data, to_undirected=True)
    graph.remove_edges_from(nx.selfloop_edges(graph))
    relabelled = Relabelled.of(Graphs.of(context(data)), [])
    cores = relabelled.back(core_numbers(relabelled.adjacency))
    assert cores.tolist() == [nx.core_number(graph)[k] for k in range(60)]
    hops = relabelled.back(relabelled.hops(relabelled.roots))
    roots = relabelled.order[torch.from_numpy(relabelled.roots)].tolist()
    expected = nx.multi_source_dijkstra_path_length(graph, set(roots))
    assert hops.tolist() == [expected[k] for k in range(60)]
    # simple edges only: networkx counts an undirected loop once
    data.edge_index = torch.tensor(list(graph.to_directed().edges())).T
    rank = nx.pagerank(graph, tol=1e-12)
    by_rank = [rank[k] for k in order_of("pagerank", data).tolist()]
    assert (np.diff(by_rank) > -1e-6).all()
    largest = max(nx.connected_components(graph), key=len)
    central = nx.eigenvector_centrality_numpy(graph.subgraph(largest))
    by_central = [central[k] for k in order_of("eigenvector", data).tolist() if k in largest]
    assert (np.diff(by_central) > -1e-3).all()


def test_rcm_makes_edges_short():
    grid = nx.convert_node_labels_to_integers(nx.grid_2d_graph(6, 9))
    edges = torch.tensor(list(grid.edges())).T
    data = random_graph(54, 0)
    data.edge_index = torch.cat([edges, edges.flip(0)], 1)
    data, _ = renumbered(data)
    place = scan_orders.inverse(order_of("rcm", data)).positions
    assert (place[data.edge_index[0]] - place[data.edge_index[1]]).abs().max() <= 9


def test_communities_are_contiguous():
    graph = nx.planted_partition_graph(4, 8, 0.95, 0.01, seed=1)
    edges = torch.tensor(list(graph.edges())).T
    data = random_graph(32, 0)
    data.edge_index = torch.cat([edges, edges.flip(0)], 1)
    block = order_of("communities", data) // 8
    assert (block.diff() != 0).sum() == 3


def test_draws_differ_and_repeat():
    batch = torch.tensor([0] * 50 + [1] * 50)
    edges = edges_of(batch, 2)
    one, other = node_noise(batch, edges, 0), node_noise(batch, edges, 1)
    assert torch.equal(one, node_noise(batch, edges, 0))
    assert not torch.equal(one.argsort(), other.argsort())
    assert torch.equal(one[:50], one[50:])  # by place in the graph: batch mates do not matter
    assert 0 <= one.min() < 0.1 < 0.9 < one.max() < 1
    many = torch.cat([node_noise(batch, edges, draw)[:50] for draw in range(200)])
    assert many.mean().item() == pytest.approx(0.5, abs=0.01)
    assert np.corrcoef(many[:-1], many[1:])[0, 1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("name", ["degree", "rcm", "pagerank"])
def test_ranks_worked_out_ahead(name, mixed_sizes):
    ranked = batched(*[AddNodeRank(name)(g.clone()) for g in mixed_sizes])
    cu_seqlens = edges_of(ranked.batch, len(mixed_sizes))
    given = context_of(ranked.edge_index, ranked.batch, cu_seqlens, rank=ranked.rank)
    order = scan_orders.get("node-rank")(given)
    assert torch.equal(order, order_of(name, batched(*mixed_sizes)))
    with pytest.raises(registry.ScanOrderError, match="no order of nodes"):
        AddNodeRank("hilbert")
    with pytest.raises(GraphError, match="the graph has no edge_index"):
        AddNodeRank(name)(Data(x=torch.zeros(2, 1)))


def test_ones_own_order():
    data = random_graph(20, 30, 1)
    with registry.isolated():

        @registry.scan_order("heaviest-last", dims=None)
        class HeaviestLast(NodeOrder):
            def keys(self, graphs):
                return [graphs.features[:, 0]]

        assert (data.x[order_of("heaviest-last", data), 0].diff() >= 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.integers(0, 10**6))
def test_rows_are_hashed_by_value_and_column(columns, seed):
    """In blocks as in one piece; a change of one entry, or of two columns' places, shows."""
    drawn = torch.Generator().manual_seed(seed)
    rows = torch.randn(5, columns, generator=drawn)
    rows[3] = rows[1]
    found = hashed_rows(rows)
    bits = rows.view(torch.int32).long() * 2
    assert torch.equal(found, mixed(bits + mixed(torch.arange(columns))).sum(1))
    assert found[3] == found[1]
    if columns:
        assert len(set(found.tolist())) == 4
        assert torch.equal(hashed_rows(-0.0 * rows), hashed_rows(0.0 * rows))
    if columns > 1:
        assert not (hashed_rows(rows.roll(1, 1)) == found).any()
    assert torch.equal(hashed_rows(rows.T.contiguous().T), found)


def test_importing_moves_no_random_numbers():
    state = torch.get_rng_state()
    importlib.import_module("mamba_graph.nn.graph_mamba_conv")
    order_of("node-shuffle", random_graph(10, 10))
    assert torch.equal(state, torch.get_rng_state())


def test_walks_follow_edges():
    data = random_graph(15, 25, 2)
    graphs = Graphs.of(context(data))
    found = walks(graphs, 4, 3, draw=1)
    assert found.shape == (15, 3, 5)
    joined = {tuple(e) for e in data.edge_index.T.tolist()}
    stuck = graphs.degree == 0
    for path in found.flatten(0, 1).tolist():
        for step in pairwise(path):
            assert step in joined or (stuck[step[0]] and step[0] == step[1])
    assert torch.equal(found[:, :, 0], torch.arange(15)[:, None].expand(-1, 3))
    assert not torch.equal(found, walks(graphs, 4, 3, draw=2))


def test_every_neighbour_is_drawn_as_often():
    star = random_graph(5, 0)
    star.edge_index = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    found = walks(Graphs.of(context(star)), 1, 4000, draw=0)[0, :, 1]
    assert found.bincount(minlength=5)[1:].float().std() < 60


def test_neighbours_stand_before_their_node():
    order = torch.tensor([[2, 0, 1], [1, 0, 2]])
    sampled = torch.tensor([[1, 2], [0, 0], [1, 1]])
    longer, edges, tokens = neighbours_first(order, torch.tensor([0, 3]), sampled)
    shown = tokens.flatten()[longer]
    assert shown.tolist() == [[1, 1, 2, 1, 2, 0, 0, 0, 1], [0, 0, 1, 1, 2, 0, 1, 1, 2]]
    assert edges.tolist() == [0, 9]
