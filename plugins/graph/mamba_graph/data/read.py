"""Read data sets: PyG's from raw files without the network, or csv tables."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric import datasets
from torch_geometric.data import Data

from mamba_graph.data.check import GraphError
from mamba_graph.data.config import Collection, Source, Tables
from mamba_registry.errors import DependencyMissingError
from mamba_registry.weights import cache_folder

_CLASSES: dict[str, type[Any]] = {
    "tu": datasets.TUDataset,
    "planetoid": datasets.Planetoid,
    "heterophilous": datasets.HeterophilousGraphDataset,
    "moleculenet": datasets.MoleculeNet,
    "lrgb": datasets.LRGBDataset,
    "zinc": datasets.ZINC,
}
_IN_PARTS = ("lrgb", "zinc")


def read(source: Source) -> list[Data]:
    """Return all graphs of a source; of a set with official parts those of ``train``.

    :raises FileNotFoundError: for a folder or file that is not there.
    :raises GraphError: for a table that cannot be used.
    :raises DependencyMissingError: for molecules without rdkit.
    """
    if isinstance(source, Tables):
        return read_tables(source)
    return read_part(source, None)


def has_parts(source: Source) -> bool:
    """Whether the set comes in official parts for training, validation and test."""
    return isinstance(source, Collection) and source.family in _IN_PARTS


def read_part(source: Collection, part: str | None) -> list[Data]:
    """Return the graphs of an official part, or of a set without parts.

    :raises ConnectionError: when a download fails.
    :raises FileNotFoundError: without a download, for raw files that are not there, or not all.
    :raises GraphError: for a set that PyG does not have, or files that it cannot read.
    """
    if not source.download:
        return _of_pyg(source, _worked_on(source), part)
    try:
        return _of_pyg(source, source.root, part)
    except OSError as error:
        raise ConnectionError(
            f"{source.name} could not be fetched ({error}): put its raw files into "
            f"{str(source.root / _folder_name(source) / 'raw')!r} and leave download out"
        ) from error


def _of_pyg(source: Collection, root: Path, part: str | None) -> list[Data]:
    if source.family == "moleculenet" and importlib.util.find_spec("rdkit") is None:
        raise DependencyMissingError(
            f"{source.name} is read from SMILES by rdkit: pip install mamba-graph[molecules]"
        )
    family = _CLASSES[source.family]
    read_it = family if source.download else _without_network(family, source)
    try:
        return list(read_it(**_arguments(source, root, part or "train")))
    except AssertionError as error:  # PyG says no more than that
        raise GraphError(
            f"PyG's {family.__name__} cannot read {source.name!r}: it has no set of that name, or "
            "the raw files are of another one"
        ) from error


def _arguments(source: Collection, root: Path, part: str) -> dict[str, Any]:
    """What the family's class is called with."""
    given: dict[str, Any] = {"root": str(root), "name": source.name}
    if source.family == "zinc":
        return {"root": str(root / source.name), "subset": True, "split": part}
    if source.family == "lrgb":
        given["split"] = part
    if source.family == "tu":
        given["use_node_attr"] = source.attributes
    return given


def _without_network(family: type[Any], source: Collection) -> type[Any]:
    """The same class, which would otherwise fetch raw files that are missing, unasked."""

    def refuse(self: Any) -> None:
        missing = [path for path in self.raw_paths if not Path(path).exists()]
        raise FileNotFoundError(
            f"{str(source.root / _folder_name(source) / 'raw')!r} lacks "
            f"{', '.join(Path(path).name for path in missing)}: add what is missing, or set "
            "download = true"
        )

    return type(family.__name__, (family,), {"download": refuse})


def _worked_on(source: Collection) -> Path:
    """Copy the raw files to the cache: PyG writes beside them, and they may be read-only."""
    folder = _folder_name(source)
    raw = source.root / folder / "raw"
    if not raw.is_dir():
        raise FileNotFoundError(
            f"no raw files of {source.name} in {str(raw)!r}: give the folder that holds "
            f"{folder}/raw, or set download = true"
        )
    root = cache_folder() / "graphs"
    target = root / folder / "raw"
    if not target.is_dir() or _stamp(target) != _stamp(raw):
        shutil.rmtree(target.parent, ignore_errors=True)
        shutil.copytree(raw, target)
    return root


def _folder_name(source: Collection) -> str:
    if source.family in ("moleculenet", "lrgb"):
        return source.name.lower()
    if source.family == "heterophilous":
        return source.name.lower().replace("-", "_")
    return source.name


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files; copies keep the times."""
    files = (f for f in folder.rglob("*") if f.is_file())
    return sorted(
        (f.relative_to(folder).as_posix(), f.stat().st_size, int(f.stat().st_mtime)) for f in files
    )


def read_tables(source: Tables) -> list[Data]:
    """Return the graphs of two csv files, see :class:`~mamba_graph.data.config.Tables`.

    :raises GraphError: for missing columns, ids that occur twice, edges of unknown nodes.
    """
    of_graph = () if source.graph is None else (source.graph,)
    edges = read_table(source.edges, ("source", "target", *of_graph))
    if source.nodes is None:
        nodes = _named_nodes(edges, source)
    else:
        nodes = read_table(source.nodes, ("id", *of_graph))
    if not len(nodes):
        raise GraphError(f"{source.nodes or source.edges} has no rows, so there are no nodes")
    if source.graph is None:
        return [graph_of(nodes, edges, source, str(source.nodes or source.edges))]
    parts = dict(iter(edges.groupby(source.graph)))
    strange = parts.keys() - set(nodes[source.graph])
    if strange:
        raise GraphError(
            f"{source.edges} has edges of graph {min(strange, key=str)!r}, of which "
            f"{source.nodes} has no node"
        )
    return [
        graph_of(part, parts.get(name, edges.iloc[:0]), source, f"graph {name!r}")
        for name, part in nodes.groupby(source.graph, sort=False)
    ]


def _named_nodes(edges: pd.DataFrame, source: Tables) -> pd.DataFrame:
    """Return a row for each node that edges name, in each graph, as they come."""
    kept = [] if source.graph is None else [source.graph]
    ends = [
        edges[[*kept, column]].rename(columns={column: "id"}) for column in ("source", "target")
    ]
    return pd.concat(ends).sort_index(kind="stable").drop_duplicates(ignore_index=True)


def read_table(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """Read a csv file.

    :param needed: columns that it must have, with a value in every row.
    :raises FileNotFoundError: when it is not there.
    :raises GraphError: when it is empty, or a column or value is missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        table = pd.read_csv(path)
    except pd.errors.EmptyDataError as error:
        raise GraphError(f"{path} is empty: its first row names the columns") from error
    missing = [column for column in needed if column not in table]
    if missing:
        raise GraphError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(map(str, table.columns))}"
        )
    for column in needed:
        if table[column].isna().any():
            row = int(table[column].isna().to_numpy().argmax())
            raise GraphError(f"{path}: row {row + 1} after the header has no {column!r}")
    return table


def graph_of(nodes: pd.DataFrame, edges: pd.DataFrame, source: Tables, name: str) -> Data:
    """Return one graph of its rows; ``data.names`` are the ids."""
    names = nodes["id"].tolist()
    place = {node: k for k, node in enumerate(names)}
    if len(place) < len(names):
        twice = nodes["id"][nodes["id"].duplicated()].iloc[0]
        raise GraphError(f"{name}: the id {twice!r} occurs twice")
    ends = [edges[column].tolist() for column in ("source", "target")]
    unknown = [node for column in ends for node in column if node not in place]
    if unknown:
        raise GraphError(f"{name}: an edge names the node {unknown[0]!r}, which no row has")
    edge_index = torch.tensor([[place[n] for n in column] for column in ends]).long().reshape(2, -1)
    skip = {"id", source.graph, source.target}
    x = _numbers(nodes, skip, name)
    attr = _numbers(edges, {"source", "target", source.graph}, name)
    if not source.directed:
        edge_index, attr = both_ways(edge_index, attr)
    data = Data(x=x, edge_index=edge_index, edge_attr=attr, num_nodes=len(names))
    data.names = names
    if source.target is not None:
        if source.target not in nodes:
            raise GraphError(f"{name} has no column {source.target!r}")
        data.y = _target(nodes[source.target], name)
    return data


def both_ways(edge_index: Tensor, attr: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Add the other direction of every edge that is no loop, with the same features.

    :param edge_index: int64 ``(2, edges)``.
    :param attr: ``(edges, features)``.
    """
    back = edge_index[0] != edge_index[1]
    edge_index = torch.cat([edge_index, edge_index[:, back].flip(0)], dim=1)
    return edge_index, None if attr is None else torch.cat([attr, attr[back]])


def _target(column: pd.Series, name: str) -> Tensor:
    if not pd.api.types.is_numeric_dtype(column):
        raise GraphError(
            f"{name}: the target {column.name!r} holds text ({column.iloc[0]!r}): number the "
            "classes from 0"
        )
    return torch.from_numpy(column.to_numpy().copy())


def _numbers(table: pd.DataFrame, skip: set[str | None], name: str) -> Tensor | None:
    kept = table[[column for column in table if column not in skip]]
    if not len(kept.columns):
        return None
    text = kept.select_dtypes(exclude=[np.number, bool])
    if len(text.columns):
        raise GraphError(f"{name}: column {text.columns[0]!r} holds text: encode it as numbers")
    return torch.from_numpy(kept.to_numpy(dtype=np.float32).copy())
