"""Where graphs come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT

Family = Literal["tu", "planetoid", "heterophilous", "moleculenet", "lrgb", "zinc"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Collection:
    """A data set of PyG's: from its raw files in a folder, or downloaded."""

    kind: Literal["collection"] = "collection"
    """Which form of data this is."""
    family: Family = "tu"
    """The class that reads it: TUDataset, Planetoid, HeterophilousGraphDataset, MoleculeNet,
    LRGBDataset, ZINC (the 12k subset)."""
    name: str
    """As PyG calls it, ``MUTAG`` or ``Cora``."""
    root: Path
    """Folder with ``NAME/raw/``. It is left as it is: what PyG makes of the files goes to the
    cache."""
    download: bool = False
    """Fetch it into ``root`` when it is not there."""
    attributes: bool = True
    """Of a TU set: numbers of the nodes besides their labels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Tables:
    """Csv files: a row per node, a row per edge; or an edge list alone."""

    kind: Literal["tables"] = "tables"
    """Which form of data this is."""
    edges: Path
    """The edges: columns ``source`` and ``target``; others are features."""
    nodes: Path | None = None
    """The nodes: a column ``id``, features, and where they are known the targets. None: the nodes
    are those that the edges name, and have no features."""
    directed: bool = False
    """Whether edges lead one way only."""
    graph: str | None = None
    """Column of both with the graph; None: all rows are one graph."""
    target: str | None = None
    """Column of the nodes with what is to be found; of a whole graph it is its first node's."""


Source = Annotated[Collection | Tables, Field(discriminator="kind")]
"""Where graphs come from."""
