"""``GraphMambaConv``: GPSConv's manners, packed as alone, and what PyG users asked for."""

from __future__ import annotations

import inspect

import pytest
import torch
from graph_cases import batched, random_graph, renumbered
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch_geometric.nn import GATConv, GCNConv, GINConv, GINEConv, GPSConv, SAGEConv
from torch_geometric.utils import to_torch_csr_tensor

from mamba_core import registry
from mamba_graph import GraphMambaConv
from mamba_graph.nn import GatedGCNConv
from mamba_graph.orders import AddNodeRank
from mamba_graph.plugin import _NAMES

D = 16


def layer(conv="gcn", **given):
    made = GCNConv(D, D) if conv == "gcn" else conv
    return GraphMambaConv(D, made, **given)


def wide(data):
    data.x = torch.randn(data.num_nodes, D, generator=torch.Generator().manual_seed(1))
    return data


def test_the_signature_is_gpsconvs():
    ours = inspect.signature(GraphMambaConv).parameters
    theirs = dict(inspect.signature(GPSConv).parameters)
    for name in ("attn_type", "attn_kwargs"):
        theirs.pop(name)
        assert name not in ours
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name
    forward = list(inspect.signature(GPSConv.forward).parameters)
    assert [n for n in inspect.signature(GraphMambaConv.forward).parameters if n in forward] == (
        forward
    )
    # GPSConv's third is heads, its fourth dropout
    made = GraphMambaConv(D, None, 4, 0.25)
    assert made.dropout == 0.25


def test_repr_says_what_it_is():
    text = repr(layer(order="rcm", bidirectional=True))
    assert text == (
        "GraphMambaConv(16, conv=GCNConv(16, 16), mixer='mamba1', order='rcm', bidirectional=True)"
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("mixer", ["mamba1", {"name": "mamba2", "headdim": 8}, "attention"])
def test_packed_is_one_graph_at_a_time(mixer, bidirectional, mixed_sizes):
    torch.manual_seed(0)
    made = layer(mixer=mixer, bidirectional=bidirectional, order="degree").eval()
    graphs = [wide(graph) for graph in mixed_sizes]
    data = batched(*graphs)
    with torch.no_grad():
        together = made(data.x, data.edge_index, data.batch)
        alone = torch.cat([made(g.x, g.edge_index) for g in graphs])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", _NAMES)
def test_batch_mates_do_not_matter_for_any_order(name, mixed_sizes):
    torch.manual_seed(0)
    made = layer(order=name, bidirectional=True).eval()
    graphs = [wide(graph) for graph in mixed_sizes]
    data, other = batched(*graphs), batched(*graphs[::-1])
    with torch.no_grad():
        one = made(data.x, data.edge_index, data.batch)
        two = made(other.x, other.edge_index, other.batch)
    parts = torch.split(two, [g.num_nodes for g in graphs[::-1]])
    torch.testing.assert_close(one, torch.cat(parts[::-1]), rtol=1e-5, atol=1e-6)


def test_the_turn_is_inside_each_graph():
    """A change in one graph never reaches another, backwards neither."""
    torch.manual_seed(0)
    made = layer(None, bidirectional=True, norm=None, order="bfs").eval()
    data = batched(wide(random_graph(9, 12, 1)), wide(random_graph(7, 9, 2)))
    with torch.no_grad():
        before = made(data.x, data.edge_index, data.batch)
        data.x[9:] += 1
        after = made(data.x, data.edge_index, data.batch)
    assert torch.equal(before[:9], after[:9])
    assert not torch.isclose(before[9:], after[9:]).all()


def test_node_numbers_do_not_matter():
    torch.manual_seed(0)
    made = layer(order="rcm", bidirectional=True).eval()
    data = wide(random_graph(25, 40, 3))
    moved, place = renumbered(data)
    with torch.no_grad():
        one = made(data.x, data.edge_index)
        two = made(moved.x, moved.edge_index)
    torch.testing.assert_close(one, two[place], rtol=1e-5, atol=1e-6)


def test_an_unsorted_batch_vector():
    torch.manual_seed(0)
    made = layer(bidirectional=True, order="degree").eval()
    data = batched(wide(random_graph(8, 12, 1)), wide(random_graph(11, 20, 2)))
    mix = torch.randperm(19)
    place = torch.empty_like(mix)
    place[mix] = torch.arange(19)
    with torch.no_grad():
        one = made(data.x, data.edge_index, data.batch)
        two = made(data.x[mix], place[data.edge_index], data.batch[mix])
    torch.testing.assert_close(one, two[place], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["degree", "rcm", "hops", "pagerank", "fiedler", "communities"])
def test_a_batch_may_lack_a_graph_or_all_nodes(name):
    """Graph 1 has no nodes; loops, duplicate edges and isolated nodes beside it."""
    made = layer(None, order=name, bidirectional=True).eval()
    x = torch.randn(6, D)
    edges = torch.tensor([[0, 0, 0, 1, 3, 4], [0, 1, 1, 0, 4, 3]])
    batch = torch.tensor([0, 0, 0, 2, 2, 2])
    with torch.no_grad():
        both = made(x, edges, batch)
        alone = made(x[:3], edges[:, :4]), made(x[3:], edges[:, 4:] - 3)
    torch.testing.assert_close(both, torch.cat(alone), rtol=1e-5, atol=1e-6)
    assert made(x[:0], edges[:, :0]).shape == (0, D)


@pytest.mark.parametrize("name", ["rcm", "bfs"])
def test_ranks_of_the_transform_are_read(name):
    """As with the order worked out on the way, in a batch whose nodes are mixed."""
    torch.manual_seed(0)
    ahead, here = layer(None, order="node-rank").eval(), layer(None, order=name).eval()
    ahead.load_state_dict(here.state_dict())
    data = batched(*(AddNodeRank(name)(wide(random_graph(k, 2 * k, k))) for k in (8, 11)))
    mix = torch.randperm(19)
    with torch.no_grad():
        expected = here(data.x, data.edge_index, data.batch)
        found = ahead(data.x, data.edge_index, data.batch, rank=data.rank)
        mixed = ahead(data.x[mix], torch.zeros(2, 0).long(), data.batch[mix], rank=data.rank[mix])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(mixed, expected[mix], rtol=1e-5, atol=1e-6)


def test_edge_updates_are_handed_on_and_trained():
    made = layer(GatedGCNConv(D))
    data = wide(random_graph(12, 20, 1))
    edges = torch.randn(40, D, requires_grad=True)
    x, updated = made(data.x, data.edge_index, edge_attr=edges)
    assert (x.shape, updated.shape) == ((12, D), (40, D))
    (x.sum() + updated.square().sum()).backward()
    assert edges.grad.any()
    assert all(p.grad is not None for p in made.parameters())


@pytest.mark.parametrize(
    ("conv", "given"),
    [
        (SAGEConv(D, D), {}),
        (GATConv(D, D // 2, heads=2), {}),
        (GINEConv(torch.nn.Linear(D, D)), {"edge_attr": torch.randn(40, D)}),
        (None, {}),
    ],
    ids=["sage", "gat", "gine", "none"],
)
def test_any_message_passing(conv, given):
    data = wide(random_graph(12, 20, 1))
    made = layer(conv)
    made(data.x, data.edge_index, **given).square().mean().backward()
    assert all(p.grad is not None for p in made.parameters())


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm", "graph_norm", None])
def test_norms_by_name(norm):
    data = batched(wide(random_graph(12, 20, 1)), wide(random_graph(5, 5, 1)))
    made = layer(norm=norm, act="leaky_relu", act_kwargs={"negative_slope": 0.1})
    assert made(data.x, data.edge_index, data.batch).shape == (17, D)
    assert bool(made.norm_inputs) == (norm in ("layer_norm", "graph_norm"))


@pytest.mark.parametrize(("residual", "kept"), [(True, 2), (False, 0)])
def test_residuals_stand_around_both_parts_or_none(residual, kept):
    """With all weights at zero only what goes around the parts is left."""
    data = wide(random_graph(9, 12, 0))
    made = layer(norm=None, residual=residual)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        assert torch.equal(made(data.x, data.edge_index), kept * data.x)


def test_reset_is_a_fresh_start():
    made = layer(mixer={"name": "mamba1", "d_state": 4}, bidirectional=True)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(7)
    made.reset_parameters()
    torch.manual_seed(3)
    fresh = layer(mixer={"name": "mamba1", "d_state": 4}, bidirectional=True)
    for (name, one), other in zip(made.named_parameters(), fresh.parameters(), strict=True):
        assert not (one == 7).any(), name
        assert one.std(correction=0).item() == pytest.approx(
            other.std(correction=0).item(), abs=0.2
        ), name


def test_training_alone_decides_about_noise():
    torch.manual_seed(0)
    made = layer(norm=None)
    data = wide(random_graph(20, 10, 2))
    made.eval()
    with torch.no_grad():
        assert torch.equal(made(data.x, data.edge_index), made(data.x, data.edge_index))
        made.train()
        assert not torch.equal(made(data.x, data.edge_index), made(data.x, data.edge_index))
        made.generator = torch.Generator().manual_seed(1)
        one = made(data.x, data.edge_index)
        made.generator.manual_seed(1)
        assert torch.equal(one, made(data.x, data.edge_index))


@pytest.mark.parametrize(
    ("order", "norm"),
    [
        ("degree(noise=true)", "batch_norm"),
        ("pagerank:reverse", "graph_norm"),
        ("node-shuffle", "layer_norm"),
    ],
)
def test_with_ptr_nothing_waits_for_the_device(order, norm, mixed_sizes, monkeypatch):
    """PyG's ``data.ptr`` says how many graphs there are; fake tensors have no values to look at."""
    # as on a GPU, where checks of values are left out
    monkeypatch.setattr("mamba_graph.nn.graph_mamba_conv._can_be_looked_at", lambda tensor: False)
    made = layer(SAGEConv(D, D), order=order, norm=norm, bidirectional=True).eval()
    data = batched(*(wide(graph) for graph in mixed_sizes))
    with torch.no_grad():
        expected = made(data.x, data.edge_index, data.batch)
        found = made(data.x, data.edge_index, data.batch, cu_seqlens=data.ptr)
    assert torch.equal(found, expected)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        inputs = data.x, data.edge_index, data.batch, data.ptr
        x, edges, batch, ptr = (mode.from_tensor(value) for value in inputs)
        assert made(x, edges, batch, cu_seqlens=ptr).shape == data.x.shape
        assert made(x, edges).shape == data.x.shape  # one graph: no batch to count graphs of


@pytest.mark.slow
def test_with_ptr_it_compiles_whole():
    torch._dynamo.reset()
    made = layer(GINConv(torch.nn.Linear(D, D)), order="degree", bidirectional=True).eval()
    counter = CompileCounter()
    compiled = torch.compile(made, backend=counter, fullgraph=True)
    for k in range(4):
        data = batched(*(wide(random_graph(5 + k, 9 + k, k)) for _ in range(2 + k)))
        with torch.no_grad():
            found = compiled(data.x, data.edge_index, data.batch, cu_seqlens=data.ptr)
            torch.testing.assert_close(found, made(data.x, data.edge_index, data.batch))
    assert counter.frame_count <= 2


def test_sparse_adjacency():
    torch.manual_seed(0)
    made = layer(SAGEConv(D, D), order="degree").eval()
    data = wide(random_graph(12, 20, 1)).coalesce()
    sparse = to_torch_csr_tensor(data.edge_index, size=(12, 12))
    with torch.no_grad():
        torch.testing.assert_close(made(data.x, data.edge_index), made(data.x, sparse.t()))


def test_wrong_calls_are_named():
    data = wide(random_graph(12, 20, 1))
    with pytest.raises(IndexError, match="names nodes 0 to 99, there are 12"):
        layer()(data.x, torch.tensor([[0], [99]]))
    with pytest.raises(ValueError, match=r"edge_index is torch.int64 of shape \(40, 2\)"):
        layer()(data.x, data.edge_index.T)
    with pytest.raises(ValueError, match=r"edge_index is torch.float32"):
        layer()(data.x, data.edge_index.float())
    with pytest.raises(ValueError, match=r"x has shape \(12, 8\); \(nodes, 16\) is expected"):
        layer()(data.x[:, :8], data.edge_index)
    with pytest.raises(ValueError, match=r"x is a dict, not a tensor: .*to_homogeneous"):
        layer()({"atom": data.x}, {("atom", "bond", "atom"): data.edge_index})
    with pytest.raises(ValueError, match=r"cu_seqlens is \[0, 5, 12\].* start at \[0, 12, 12\]"):
        layer()(
            data.x, data.edge_index, torch.zeros(12).long(), cu_seqlens=torch.tensor([0, 5, 12])
        )
    with pytest.raises(ValueError, match="batch names the graph -1"):
        layer()(data.x, data.edge_index, torch.arange(12) - 1)
    with pytest.raises(registry.ScanOrderError, match="'hilbert' is no order of nodes"):
        layer(order="hilbert")
    with pytest.raises(registry.ScanOrderError, match="degree"):
        layer(order="degre")
    with pytest.raises(registry.ScanOrderError, match=r"order is a function, .*@registry.scan_"):
        layer(order=lambda context: context["batch"])
    with pytest.raises(ValueError, match=r"batch is torch.int64 of shape \(3,\)"):
        layer()(data.x, data.edge_index, torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"batch is torch.float32 of shape \(12,\)"):
        layer()(data.x, data.edge_index, torch.zeros(12))
    with pytest.raises(ValueError, match=r"reads rank=data.rank, .* AddNodeRank stores"):
        layer(order="node-rank", bidirectional=True)(data.x, data.edge_index)
    with pytest.raises(ValueError, match="comes with cu_seqlens"):
        layer()(data.x, data.edge_index, order=torch.arange(12)[None])
