"""Tables in and out: pandas, polars, or the path of a file; all become pandas columns inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd

from mamba_recsys.interactions import InteractionError
from mamba_recsys.readers import Columns, from_table, read, read_atomic

PANDAS = "pandas"
_ATOMIC = (".inter", ".item", ".user")


def as_pandas(table: Any) -> tuple[pd.DataFrame, str]:
    """Return a table's columns in pandas, and what kind of table it was.

    :param table: pandas or polars, or the path of a .csv, .tsv, .parquet, .inter or .item file.
    :raises InteractionError: for anything else.
    """
    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True), PANDAS
    if isinstance(table, str | Path):
        return _read_table(Path(table)), PANDAS
    try:
        frame = nw.from_native(table, eager_only=True)
    except TypeError as error:
        raise InteractionError(
            f"{type(table).__name__} is no table in memory: give a pandas or polars frame (of a "
            "lazy one its collect()), or a path"
        ) from error
    columns = {name: frame.get_column(name).to_numpy() for name in frame.columns}
    return pd.DataFrame(columns), frame.implementation.value


def as_rows(source: Any, columns: Columns) -> tuple[pd.DataFrame, str]:
    """Return events as pandas columns under their names in ``columns``, and the kind of table.

    :param source: a table, or the path of any file that :func:`~mamba_recsys.readers.read` reads.
    :raises InteractionError: for a table without user or item.
    """
    if isinstance(source, str | Path) and not _is_table(Path(source)):
        users, items, times = read(Path(source), columns)
        table = pd.DataFrame({columns.user: users, columns.item: items})
        if times is not None:
            table[columns.time] = times
        return table, PANDAS
    table, kind = as_pandas(source)
    from_table(table.head(0), columns, "the table")  # names the column that is missing
    return table, kind


def native(data: dict[str, Any], kind: str) -> Any:
    """Return columns as the kind of table that :func:`as_pandas` named."""
    if kind == PANDAS:
        return pd.DataFrame(data)
    plain = {name: np.asarray(values).tolist() for name, values in data.items()}
    backend: Any = kind
    return nw.from_dict(plain, backend=backend).to_native()


def rows_of(table: pd.DataFrame, ids: Sequence[Any], column: str) -> pd.DataFrame:
    """Return the rows of some items, in this order.

    :param column: with the items' raw ids.
    :raises InteractionError: without the column, and for an item with no row or with two.
    """
    if column not in table:
        raise InteractionError(f"the table of items has no column {column!r}")
    where = pd.Index(table[column])
    twice = where[where.duplicated()].tolist()
    if twice:
        raise InteractionError(f"item {twice[0]!r} has two rows in the table of items")
    rows = where.get_indexer(pd.Index(ids))
    if (rows < 0).any():
        raise InteractionError(
            f"item {ids[int((rows < 0).argmax())]!r} has no row in the table of items"
        )
    return table.iloc[rows].reset_index(drop=True)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a table")
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix in (".csv", ".tsv"):
        return _with_lists(pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ","), path)
    if path.suffix in _ATOMIC:
        return read_atomic(path)
    raise InteractionError(f"{path}: give a .csv, .tsv, .parquet, .inter or .item table")


def _is_table(path: Path) -> bool:
    """Whether a file has named columns of its own; MovieLens' ratings.csv has other names."""
    return path.suffix in (".csv", ".tsv", ".parquet", *_ATOMIC) and path.name != "ratings.csv"


def _with_lists(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Columns of text like ``[0.1, 0.2]`` become lists.

    :raises InteractionError: where only some rows are lists.
    """
    for name in table:
        column = table[name]
        if not len(column) or not str(column.iloc[0]).startswith("["):
            continue
        try:
            table[name] = [json.loads(row) for row in column]
        except (json.JSONDecodeError, TypeError) as error:
            raise InteractionError(
                f"{path}, column {name!r}: the first row is a list, another is not ({error})"
            ) from error
    return table
