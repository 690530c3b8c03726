"""Tables in and out: pandas, polars, or the path of a file; all become pandas columns inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd

from mamba_recsys.interactions import InteractionError
from mamba_recsys.readers import Columns, from_table, read

PANDAS = "pandas"


def as_pandas(table: Any) -> tuple[pd.DataFrame, str]:
    """Return a table's columns in pandas, and what kind of table it was.

    :param table: pandas or polars, or the path of a .csv, .tsv or .parquet file.
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
            f"{type(table).__name__} is no table: give a pandas or polars frame, or a path"
        ) from error
    columns = {name: frame.get_column(name).to_numpy() for name in frame.columns}
    return pd.DataFrame(columns), frame.implementation.value


def as_rows(source: Any, columns: Columns) -> tuple[pd.DataFrame, str]:
    """Return events as pandas columns under their names in ``columns``, and the kind of table.

    :param source: a table, or the path of any file that :func:`~mamba_recsys.readers.read` reads.
    :raises InteractionError: for a table without user or item.
    """
    if isinstance(source, str | Path) and Path(source).suffix not in (".csv", ".tsv", ".parquet"):
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


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a table")
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix in (".csv", ".tsv"):
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
    raise InteractionError(f"{path}: give a .csv, .tsv or .parquet table")
