"""Files of interactions: tables, RecBole's .inter, MovieLens' layouts, lines of sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamba_recsys.interactions import InteractionError


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are called."""

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"


Rows = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64] | None]
"""Users, items and times (None: rows are in order), ``(events,)`` each."""


def read(path: Path, columns: Columns | None = None) -> Rows:
    """Read a file of interactions, by its name and form.

    :param path: ``.csv``, ``.tsv`` or ``.parquet`` with named columns; ``.inter``; MovieLens'
        ``ratings.dat``, ``u.data`` or ``ratings.csv``, or a folder with one of them; ``.txt`` with
        lines ``user item item ...``; ``.npz`` with ``items``, ``offsets`` and, if there are,
        ``user_ids`` and ``times``.
    :raises FileNotFoundError: when there is none.
    :raises InteractionError: for a file of another form.
    """
    path = Path(path)
    if path.is_dir():
        path = _movielens_file(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give a file of interactions")
    columns = columns or Columns()
    if path.name in _MOVIELENS:
        return _MOVIELENS[path.name](path)
    if path.suffix not in _READERS:
        raise InteractionError(
            f"{path}: its form is not known; known are {', '.join((*_READERS, *_MOVIELENS))}"
        )
    return _READERS[path.suffix](path, columns)


def _movielens_file(folder: Path) -> Path:
    for name in _MOVIELENS:
        if (folder / name).is_file():
            return folder / name
    inter = sorted(folder.glob("*.inter"))
    if len(inter) == 1:
        return inter[0]
    raise FileNotFoundError(f"{folder} holds none of {', '.join(_MOVIELENS)} and no one .inter")


def from_table(table: Any, columns: Columns, where: object) -> Rows:
    """Return the three columns of a table in memory (pandas); without times rows are in order.

    :raises InteractionError: for a column that is missing.
    """
    for name in (columns.user, columns.item):
        if name not in table:
            raise InteractionError(f"{where} has no column {name!r}; there are {list(table)}")
    times = None
    if columns.time in table:
        times = seconds(table[columns.time], where)
    return ids(table[columns.user]), ids(table[columns.item]), times


def ids(column: pd.Series) -> NDArray[Any]:
    """Return a column of ids: integers as int64, all else as Python objects.

    :raises InteractionError: for integers that int64 does not hold.
    """
    column = column.infer_objects()
    if pd.api.types.is_integer_dtype(column) and not column.isna().any():
        if len(column) and int(column.max()) > np.iinfo(np.int64).max:
            raise InteractionError(
                f"the id {column.max()} is above 2^63 - 1, the largest whole number here: cast the "
                "column to text"
            )
        return column.to_numpy(dtype=np.int64)
    if pd.api.types.is_float_dtype(column):
        return column.to_numpy(dtype=np.float64)
    return column.to_numpy(dtype=object)


def seconds(column: pd.Series, where: object) -> NDArray[np.float64]:
    """Return a column of numbers or dates as seconds.

    :raises InteractionError: for text, and for missing values, naming the row.
    """
    column = column.infer_objects()
    if column.isna().any():
        row = int(np.flatnonzero(column.isna())[0])
        raise InteractionError(f"{where}, row {row}: the time is missing; fill or drop the row")
    if pd.api.types.is_datetime64_any_dtype(column):
        epoch = pd.Timestamp(0, tz=getattr(column.dt, "tz", None))
        return ((column - epoch) / pd.Timedelta(seconds=1)).to_numpy(dtype=np.float64)
    if not pd.api.types.is_numeric_dtype(column):
        try:
            return seconds(pd.to_datetime(column, format="ISO8601"), where)
        except (ValueError, TypeError) as error:
            raise InteractionError(
                f"{where}: the times are neither numbers nor ISO dates ({error})"
            ) from error
    return column.to_numpy(dtype=np.float64)


def _csv(path: Path, columns: Columns) -> Rows:
    return from_table(pd.read_csv(path), columns, path)


def _tsv(path: Path, columns: Columns) -> Rows:
    return from_table(pd.read_csv(path, sep="\t"), columns, path)


def _parquet(path: Path, columns: Columns) -> Rows:
    return from_table(pd.read_parquet(path), columns, path)


def _inter(path: Path, columns: Columns) -> Rows:
    """RecBole's own form of a table."""
    return from_table(read_atomic(path), columns, path)


def read_atomic(path: Path) -> pd.DataFrame:
    """Return a file of RecBole (.inter, .item, .user): tab-separated, ``name:type`` in its head.

    Tokens become text, but for ids and times; sequences of floats become lists.
    """
    heads = [str(head) for head in pd.read_csv(path, sep="\t", nrows=0)]
    parts = {head: head.partition(":") for head in heads}
    words = [h for h, (name, _, kind) in parts.items() if kind == "token" and not _is_key(name)]
    table = pd.read_csv(path, sep="\t", dtype=dict.fromkeys(words, "string"))
    for head in (h for h in heads if parts[h][2] == "float_seq"):
        table[head] = [[float(word) for word in str(row).split()] for row in table[head]]
    table.columns = pd.Index([parts[head][0] for head in heads])
    return table


def _is_key(name: str) -> bool:
    return name.endswith("_id") or name == "timestamp"


def _plain(separator: str) -> Callable[[Path], Rows]:
    """MovieLens without a header: user, item, rating, seconds."""

    def read_plain(path: Path) -> Rows:
        names = ["user", "item", "rating", "time"]
        engine: Any = "c" if len(separator) == 1 else "python"
        table = pd.read_csv(path, sep=separator, names=names, engine=engine, encoding="latin-1")
        return from_table(table, Columns("user", "item", "time"), path)

    return read_plain


def _ratings(path: Path) -> Rows:
    return from_table(pd.read_csv(path), Columns("userId", "movieId", "timestamp"), path)


def _lines(path: Path, columns: Columns) -> Rows:
    users: list[int] = []
    parts: list[NDArray[np.int64]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            user, *items = (int(word) for word in line.split())
        except ValueError as error:
            raise InteractionError(
                f"{path}, line {number}: expected 'user item item ...', all numbers ({error})"
            ) from error
        users += [user] * len(items)
        parts.append(np.array(items, dtype=np.int64))
    return np.array(users, dtype=np.int64), np.concatenate(parts), None


def _npz(path: Path, columns: Columns) -> Rows:
    with np.load(path, allow_pickle=False) as held:
        for name in ("items", "offsets"):
            if name not in held:
                raise InteractionError(f"{path} has no array {name!r}; there are {list(held)}")
        lengths = np.diff(held["offsets"].astype(np.int64))
        names = held["user_ids"] if "user_ids" in held else np.arange(len(lengths))
        times = held["times"].astype(np.float64) if "times" in held else None
        return np.repeat(names.astype(np.int64), lengths), held["items"].astype(np.int64), times


_READERS: dict[str, Callable[[Path, Columns], Rows]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".inter": _inter,
    ".txt": _lines,
    ".npz": _npz,
}
_MOVIELENS: dict[str, Callable[[Path], Rows]] = {
    "ratings.dat": _plain("::"),
    "u.data": _plain("\t"),
    "ratings.csv": _ratings,
}
