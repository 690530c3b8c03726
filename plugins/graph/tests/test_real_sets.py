"""The real sets: how they are found, fetched and counted, and what is said where they are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from mamba_core import registry
from mamba_graph import GraphError
from mamba_graph.data import read as read_module
from mamba_graph.data.config import Collection
from mamba_graph.data.read import read
from mamba_graph.graph_level.config import GraphsData
from mamba_graph.graph_level.data import GraphsDataset, nested_fold, read_folds
from mamba_registry.tasks import role_config

NONE = torch.zeros(2, 0, dtype=torch.int64)


def test_missing_raw_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds MUTAG/raw, or set download"):
        read(Collection(name="MUTAG", root=tmp_path))


@pytest.mark.parametrize(
    ("family", "name", "folder", "lacking"),
    [
        ("tu", "MUTAG", "MUTAG", "MUTAG_A.txt, MUTAG_graph_indicator.txt"),
        ("planetoid", "Cora", "Cora", "ind.cora.x, "),
        ("zinc", "ZINC", "ZINC", "train.pickle, val.pickle, test.pickle"),
    ],
)
def test_what_is_missing_is_not_fetched_unasked(tmp_path, family, name, folder, lacking):
    """PyG would: an interrupted download leaves a folder with some of the files, or none."""
    (tmp_path / folder / "raw").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"{folder}/raw' lacks {lacking}.*download = true"):
        read(Collection(family=family, name=name, root=tmp_path))


@pytest.mark.parametrize("family", ["lrgb", "moleculenet", "heterophilous"])
def test_a_set_that_pyg_does_not_have(tmp_path, family, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(GraphError, match="cannot read 'Coro': it has no set of that name"):
        read(Collection(family=family, name="Coro", root=tmp_path, download=True))


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    def fails(root, name, **given):
        raise OSError("no route to host")

    monkeypatch.setitem(read_module._CLASSES, "planetoid", fails)
    source = Collection(family="planetoid", name="Cora", root=tmp_path, download=True)
    with pytest.raises(ConnectionError, match=r"Cora could not be fetched .*no route.*Cora/raw"):
        read(source)


def test_official_parts_are_used(monkeypatch, tmp_path):
    """ZINC and LRGB come in parts: each is asked for by its name, and nothing is drawn."""
    asked = []

    def made(root, subset, split):
        assert subset
        asked.append(split)
        return [Data(x=torch.ones(2, 4), edge_index=NONE, y=torch.tensor([k])) for k in range(2)]

    monkeypatch.setitem(read_module._CLASSES, "zinc", made)
    given = Collection(family="zinc", name="ZINC", root=tmp_path, download=True)
    data = GraphsDataset(
        GraphsData(source=given), registry.config("graph-cls", preset="tiny", features=4)
    )
    assert asked == ["train", "val", "test"]
    assert len(data.train(seed=0)) == len(data.test(seed=0)) == 2


def test_molecules_need_rdkit(shared_graphs, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(registry.DependencyMissingError, match=r"mamba-graph\[molecules\]"):
        read(Collection(family="moleculenet", name="ESOL", root=shared_graphs / "pyg"))


@pytest.mark.parametrize(
    ("family", "name", "graphs", "nodes", "edges", "features"),
    [
        ("tu", "MUTAG", 188, 3371, 7442, 7),
        ("planetoid", "CiteSeer", 1, 3327, 9104, 3703),
        ("heterophilous", "Minesweeper", 1, 10_000, 78_804, 7),
    ],
)
def test_counts_of_real_sets(shared_graphs, family, name, graphs, nodes, edges, features):
    found = read(Collection(family=family, name=name, root=shared_graphs / "pyg"))
    assert len(found) == graphs
    assert sum(g.num_nodes for g in found) == nodes
    assert sum(g.num_edges for g in found) == edges
    assert found[0].x.shape[1] == features


@pytest.mark.parametrize("name", ["PROTEINS", "MUTAG", "NCI1", "ENZYMES", "IMDB-BINARY"])
def test_folds_are_disjoint_and_whole(shared_graphs, name):
    counts = {"PROTEINS": 1113, "MUTAG": 188, "NCI1": 4110, "ENZYMES": 600, "IMDB-BINARY": 1000}
    folds = read_folds(shared_graphs / "folds" / f"{name}.txt", counts[name])
    parts = [nested_fold(folds, k) for k in range(1, 11)]
    tested = np.concatenate([part[2] for part in parts])
    assert len(np.unique(tested)) == len(tested) == (folds > 0).sum()
    for train, val, test in parts:
        assert sorted([*train, *val, *test]) == list(range(counts[name]))


def test_training_data_of_a_real_set(shared_graphs):
    """The conformance kit's check of data, on MUTAG."""
    from mamba_core.testing.checks.data import data_module_smoke
    from mamba_core.testing.subject import TaskUnderTest

    fields = {
        "source": {"kind": "collection", "name": "MUTAG", "root": str(shared_graphs / "pyg")},
        "folds": str(shared_graphs / "folds" / "MUTAG.txt"),
    }
    spec = registry.spec("graph-cls")
    role_config(spec, "data_config", fields)

    class OfMutag(TaskUnderTest):
        @property
        def config(self):
            return registry.config("graph-cls", preset="tiny", features=7, edge_features=4)

    data_module_smoke.run(OfMutag("graph-cls", data=fields))
