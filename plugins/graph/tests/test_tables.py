"""Graphs from csv files: what tables may hold, and what is said of those that cannot be read."""

from __future__ import annotations

import pandas as pd
import pytest

from mamba_core import registry
from mamba_graph import GraphError
from mamba_graph.data.config import Tables
from mamba_graph.data.read import read
from mamba_graph.graph_level.config import GraphsData
from mamba_graph.graph_level.data import GraphsDataset


@pytest.fixture
def tables(tmp_path):
    nodes = pd.DataFrame(
        {
            "graph": ["a"] * 3 + ["b"] * 2,
            "id": ["u", "v", "w", "u", "v"],
            "size": [1, 2, 3, 4, 5],
            "label": [0, 0, 0, 1, 1],
        }
    )
    edges = pd.DataFrame(
        {"graph": ["a", "a", "b"], "source": ["u", "v", "u"], "target": ["v", "w", "v"]}
    )
    nodes.to_csv(tmp_path / "n.csv", index=False)
    edges.to_csv(tmp_path / "n_edges.csv", index=False)
    return tmp_path


def source(folder, **fields):
    given = {"graph": "graph", "target": "label", **fields}
    return Tables(nodes=folder / "n.csv", edges=folder / "n_edges.csv", **given)


def test_tables(tables):
    first, second = read(source(tables))
    assert first.edge_index.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]
    assert first.x.tolist() == [[1], [2], [3]]
    assert second.y.tolist() == [1, 1]
    (directed, _) = read(source(tables, directed=True))
    assert directed.edge_index.tolist() == [[0, 1], [1, 2]]


def test_an_edge_list_alone(tables):
    """Nodes are those that edges name, first come first; without features they get degrees."""
    first, second = read(Tables(edges=tables / "n_edges.csv", graph="graph"))
    assert first.names == ["u", "v", "w"]
    assert first.edge_index.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]
    assert second.num_nodes == 2
    assert first.x is None
    edges = pd.read_csv(tables / "n_edges.csv").drop(columns="graph")
    edges.to_csv(tables / "plain.csv", index=False)
    (whole,) = read(Tables(edges=tables / "plain.csv", directed=True))
    assert whole.names == ["u", "v", "w"]
    assert whole.edge_index.tolist() == [[0, 1, 0], [1, 2, 1]]
    with pytest.raises(GraphError, match="has no column 'label'"):
        read(Tables(edges=tables / "plain.csv", target="label"))


def test_bad_tables_are_named(tables):
    with pytest.raises(GraphError, match="the id 'u' occurs twice"):
        read(source(tables, graph=None))
    edges = pd.read_csv(tables / "n_edges.csv")
    edges.replace("w", "z").to_csv(tables / "n_edges.csv", index=False)
    with pytest.raises(GraphError, match="names the node 'z'"):
        read(source(tables))
    edges.drop(columns="target").to_csv(tables / "n_edges.csv", index=False)
    with pytest.raises(GraphError, match="no column 'target'"):
        read(source(tables))
    edges.assign(kind="text").to_csv(tables / "n_edges.csv", index=False)
    with pytest.raises(GraphError, match="'kind' holds text"):
        read(source(tables))
    with pytest.raises(FileNotFoundError):
        read(Tables(nodes=tables / "x.csv", edges=tables / "n_edges.csv"))
    edges.assign(graph="c").to_csv(tables / "n_edges.csv", index=False)
    with pytest.raises(GraphError, match=r"has edges of graph 'c', of which .*n.csv has no node"):
        read(source(tables))
    edges[:0].to_csv(tables / "n_edges.csv", index=False)
    nodes = pd.read_csv(tables / "n.csv")
    for column in ("graph", "id"):
        holed = nodes.astype(object)
        holed.loc[2, column] = None
        holed.to_csv(tables / "n.csv", index=False)
        with pytest.raises(GraphError, match=rf"n.csv: row 3 after the header has no '{column}'"):
            read(source(tables))
    nodes.assign(label="x").to_csv(tables / "n.csv", index=False)
    with pytest.raises(GraphError, match=r"the target 'label' holds text \('x'\): number the cla"):
        read(source(tables))
    nodes[:0].to_csv(tables / "n.csv", index=False)
    with pytest.raises(GraphError, match=r"n.csv has no rows, so there are no nodes"):
        read(source(tables))
    (tables / "n.csv").write_text("", "utf-8")
    with pytest.raises(GraphError, match=r"n.csv is empty: its first row names the columns"):
        read(source(tables))


def test_a_loop_in_a_table_is_one_edge(tables):
    """As NetworkX counts it, and with the features of every edge kept beside it."""
    edges = pd.DataFrame({"graph": "a", "source": ["u", "v"], "target": ["u", "w"], "far": [1, 2]})
    edges.to_csv(tables / "n_edges.csv", index=False)
    first, _ = read(source(tables))
    assert first.edge_index.tolist() == [[0, 1, 2], [0, 2, 1]]
    assert first.edge_attr.tolist() == [[1], [2], [2]]


def test_labels_the_model_does_not_have(tables):
    model = registry.config("graph-cls", preset="tiny", features=1)
    data = GraphsDataset(GraphsData(source=source(tables), val_share=0.5, test_share=0), model)
    assert len(data.train(seed=0)) == len(data.val(seed=0)) == 1
    nodes = pd.read_csv(tables / "n.csv")
    nodes.assign(label=5).to_csv(tables / "n.csv", index=False)
    with pytest.raises(GraphError, match="is of class 5; the model knows 0 to 1"):
        GraphsDataset(GraphsData(source=source(tables)), model)
    two = registry.config("graph-cls", preset="tiny", features=2)
    with pytest.raises(GraphError, match="graph 0 has no answer y"):
        GraphsDataset(GraphsData(source=source(tables, target=None)), two)
