"""The tasks' models: conformance, and every network on every kind of graph."""

from __future__ import annotations

import networkx as nx
import pytest
import torch
from graph_cases import random_graph, renumbered
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode

from mamba_core import registry
from mamba_core.testing import parametrize_task_checks
from mamba_graph.data.samples import packed, prepared
from mamba_graph.networks.gred import hop_edges
from mamba_graph.node_level.objective import loss as node_loss


@parametrize_task_checks("graph-cls")
def test_graph_cls_conformance(check):
    check()


@parametrize_task_checks("graph-reg")
def test_graph_reg_conformance(check):
    check()


PRESETS = tuple(name for name in registry.spec("graph-cls").presets if name != "tiny")


def build(preset, **fields):
    torch.manual_seed(0)
    return registry.build("graph-cls", preset=preset, features=4, d_model=32, **fields).eval()


def run(model, graphs):
    found = [prepared(g, model.config, f"graph {k}") for k, g in enumerate(graphs)]
    batch = packed(found)
    with torch.no_grad():
        return model(**batch)["logits"]


@pytest.mark.parametrize("preset", PRESETS)
def test_batched_is_alone(preset, mixed_sizes):
    model = build(preset)
    together = run(model, mixed_sizes)
    alone = torch.cat([run(model, [graph]) for graph in mixed_sizes])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.isfinite().all()


@pytest.mark.parametrize("norm", ["batch_norm", "layer_norm", "graph_norm"])
@pytest.mark.parametrize("kind", ["graph_mamba", "convolutions"])
def test_no_norm_mixes_graphs(kind, norm, mixed_sizes):
    model = build("gcn", network={"kind": kind, "conv": "gcn", "norm": norm})
    together = run(model, mixed_sizes)
    alone = torch.cat([run(model, [graph]) for graph in mixed_sizes])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", [p for p in PRESETS if p not in ("graph_mamba", "gmn_walks")])
def test_node_numbers_do_not_matter(preset):
    """Of the networks that draw nothing; the other two agree in distribution only."""
    model = build(preset)
    graph = random_graph(25, 40, 3)
    graph.x[:, 0] = torch.arange(25)
    torch.testing.assert_close(
        run(model, [graph]), run(model, [renumbered(graph)[0]]), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_every_parameter_is_trained(preset, mixed_sizes):
    model = build(preset).train()
    found = [prepared(g, model.config, "g") for g in mixed_sizes]
    model(**packed(found))["logits"].square().sum().backward()
    unreached = [n for n, p in model.named_parameters() if p.grad is None]
    assert not unreached


@pytest.mark.parametrize("preset", PRESETS)
def test_a_batch_of_one_node_is_trained_on(preset):
    """The last batch of an epoch may be a molecule of one atom: batch norms take it."""
    model = build(preset).train()
    batch = packed([prepared(random_graph(1, 0), model.config, "g")])
    loss = model(**batch)["logits"].square().sum()
    loss.backward()
    assert loss.isfinite()


def test_neighbours_before_nodes(mixed_sizes):
    network = {"neighbours": 2, "order": "degree", "bidirectional": True, "conv": None}
    model = build("graph_mamba", network=network)
    plain = build("graph_mamba", network={**network, "neighbours": 0})
    plain.load_state_dict(model.state_dict())
    together = run(model, mixed_sizes)
    alone = torch.cat([run(model, [graph]) for graph in mixed_sizes])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together, run(plain, mixed_sizes))
    assert model.body.passes == 5


def test_draws_are_averaged_at_the_output():
    graphs = [random_graph(20, 30, k) for k in range(3)]
    one = build("graph_mamba", draws=1)
    each = []
    batch = packed([prepared(g, one.config, "g") for g in graphs])
    with torch.no_grad():
        for draw in range(4):
            inputs = [batch[n] for n in registry.spec("graph-cls").inputs]
            each.append(one._once(tuple(inputs), draw))
    many = build("graph_mamba", draws=4)
    torch.testing.assert_close(run(many, graphs), torch.stack(each).mean(0))
    assert not torch.allclose(each[0], each[1])
    assert many.train().body.passes == 1
    assert build("graph_mamba", draws=4, network={"order": "degree"}).body.passes == 1


def test_laplacian_signs_are_drawn_in_training_only():
    model = build("graph_mamba", network={"order": "degree"})
    batch = packed([prepared(random_graph(20, 40, k), model.config, "g") for k in range(3)])
    flipped = {**batch, "encoding": -batch["encoding"]}
    with torch.no_grad():
        assert torch.equal(model(**batch)["logits"], model(**batch)["logits"])
        assert not torch.allclose(model(**batch)["logits"], model(**flipped)["logits"])
        model.train()
        assert not torch.allclose(model(**batch)["logits"], model(**batch)["logits"])


def test_features_are_dropped_in_training_and_not_for_the_order():
    """A share of zeros where the encoder reads; the orders' ties go by what was given."""
    model = build("graph_mamba_node", feature_dropout=0.5)
    batch = packed([prepared(random_graph(200, 300), model.config, "g")])
    read, ordered = [], []
    model.body.nodes.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    model.body.network.register_forward_pre_hook(
        lambda _, args: ordered.append(args[2].context["features"])
    )
    with torch.no_grad():
        model(**batch)
        model.train()(**batch)
    assert torch.equal(read[0], batch["x"])
    kept = read[1] != 0
    share = kept.float().mean() / (batch["x"] != 0).float().mean()
    assert 0.4 < share < 0.6
    torch.testing.assert_close(read[1][kept], 2 * batch["x"][kept])
    assert torch.equal(ordered[1], batch["x"])


def test_nothing_waits_for_the_device():
    """Fake tensors have no values: whoever asks for one would wait for the device.

    Of the orders worked out by tensors alone; the others say that they are not.
    """
    orders = ("degree", "degree(noise=true)", "degree-buckets", "node-shuffle", "pagerank")
    batch = packed([prepared(random_graph(9, 12, k), build("gcn").config, "g") for k in range(3)])
    with FakeTensorMode(allow_non_fake_inputs=True):
        for order in (*orders, "eigenvector"):
            network = {"order": order, "bidirectional": True, "conv": "gin"}
            model = build("graph_mamba", encoding=None, draws=1, network=network)
            inputs = {name: torch.empty_like(value) for name, value in batch.items()}
            assert model(**inputs)["logits"].shape == (3, 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(0, 18), st.integers(0, 10**6), st.integers(1, 6))
def test_hops_are_networkxs_distances(nodes, edges, seed, hops):
    data = random_graph(nodes, edges, seed)
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(data.edge_index.T.tolist())
    expected = dict(nx.all_pairs_shortest_path_length(graph))
    for hop, pairs in enumerate(hop_edges(data.edge_index, nodes, hops), start=1):
        found = [(a, b) for a in expected for b, far in expected[a].items() if far == hop]
        assert sorted(map(tuple, pairs.T.tolist())) == sorted(found)


def test_the_loss_of_nodes_waits_for_nothing():
    """Picking nodes by a mask would: how many are picked is not known ahead."""
    logits, y = torch.randn(9, 3), torch.randint(3, (9,))
    mask = torch.arange(9) % 2 == 0
    found = node_loss({"logits": logits}, {"node_y": y, "node_mask": mask})
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(logits[mask], y[mask]))
    nothing = {"node_y": y, "node_mask": torch.zeros(9, dtype=torch.bool)}
    assert node_loss({"logits": logits}, nothing) == 0
    with FakeTensorMode() as mode:
        batch = {"node_y": mode.from_tensor(y), "node_mask": mode.from_tensor(mask)}
        assert node_loss({"logits": mode.from_tensor(logits)}, batch).shape == ()


def test_compiles_once_for_batches_of_all_sizes():
    torch._dynamo.reset()
    network = {"order": "degree", "bidirectional": True, "conv": "gin", "depth": 2}
    model = build("graph_mamba", encoding=None, draws=1, network=network)
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for k in range(10):
        graphs = [random_graph(5 + k, 9 + k, k) for _ in range(2 + k)]
        batch = packed([prepared(g, model.config, "g") for g in graphs])
        with torch.no_grad():
            torch.testing.assert_close(compiled(**batch)["logits"], model(**batch)["logits"])
    assert counter.frame_count <= 2


def test_a_mixer_where_none_is_used_is_refused():
    with pytest.raises(registry.ConfigError, match="network 'convolutions' does not use mixer"):
        build("gcn", mixer="mamba2")


def test_wrong_fields_are_named():
    model = build("gcn")
    batch = packed([prepared(random_graph(5, 5), model.config, "g")])
    with pytest.raises(ValueError, match=r"x has shape \(5, 3\), the model reads 4 columns"):
        model(**{**batch, "x": batch["x"][:, :3]})
    with pytest.raises((ValueError, registry.ConfigError), match="updates edges"):
        build("gps", network={"conv": "gatedgcn"})
