"""Columns of items or events as what a model takes: codes of categories, standardised numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamba_recsys.interactions import InteractionError
from mamba_recsys.next_item.config import Features


@dataclass(frozen=True)
class ColumnEncoder:
    """How columns become codes and numbers; learnt from one table, used on later ones.

    Text, booleans and pandas' categories are categorical; a value that was not there is code 0.
    Numbers are standardised. Lists (embeddings) are taken as they are.
    """

    categories: dict[str, list[Any]]
    """Values of each categorical column, as text; the first has code 1."""
    numbers: dict[str, tuple[float, float]]
    """Mean and deviation of each numeric column."""
    vectors: dict[str, int]
    """Length of each column of lists."""

    @classmethod
    def learn(cls, table: pd.DataFrame, columns: Sequence[str], where: str) -> ColumnEncoder:
        """Look at some columns.

        :param where: names the table in errors.
        :raises InteractionError: for a column that is missing, and for missing numbers.
        """
        categories, numbers, vectors = {}, {}, {}
        for name in columns:
            if name not in table:
                raise InteractionError(f"{where} has no column {name!r}; there are {list(table)}")
            column = table[name]
            if _holds_lists(column):
                vectors[name] = len(column.iloc[0])
            elif pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
                categories[name] = sorted({str(v) for v in column[column.notna()]})
            else:
                values = _finite(column, name, where)
                deviation = float(values.std())
                numbers[name] = (float(values.mean()), deviation if deviation > 0 else 1.0)
        return cls(categories, numbers, vectors)

    def __bool__(self) -> bool:
        return bool(self.categories or self.numbers or self.vectors)

    @property
    def config(self) -> Features:
        """What the model is built with."""
        return Features(
            categories=tuple(max(len(v), 1) for v in self.categories.values()),
            numbers=len(self.numbers) + sum(self.vectors.values()),
        )

    def encode(
        self, table: pd.DataFrame, where: str
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return codes ``(rows, categorical columns)`` and numbers ``(rows, numeric columns)``.

        :raises InteractionError: for a column that is missing, missing numbers, or lists of
            another length.
        """
        for name in (*self.categories, *self.numbers, *self.vectors):
            if name not in table:
                raise InteractionError(f"{where} has no column {name!r}, which the model reads")
        codes = np.zeros((len(table), len(self.categories)), dtype=np.int64)
        for k, (name, values) in enumerate(self.categories.items()):
            code = {value: at for at, value in enumerate(values, start=1)}
            column = table[name]
            known = column.notna()
            codes[known, k] = [code.get(str(v), 0) for v in column[known]]
        parts = [
            ((_finite(table[name], name, where) - mean) / deviation)[:, None]
            for name, (mean, deviation) in self.numbers.items()
        ]
        parts += [_lists(table[name], size, name, where) for name, size in self.vectors.items()]
        numbers = np.concatenate(parts, axis=1) if parts else np.zeros((len(table), 0))
        return codes, numbers.astype(np.float32)

    def decode(
        self, codes: NDArray[np.int64], numbers: NDArray[np.float32]
    ) -> list[dict[str, Any]]:
        """Return a row's columns by name, so that :meth:`encode` gives the same again."""
        columns: dict[str, list[Any]] = {}
        for k, (name, values) in enumerate(self.categories.items()):
            named = [None, *values]
            columns[name] = [named[code] for code in codes[:, k]]
        wide = numbers.astype(np.float64)
        for k, (name, (mean, deviation)) in enumerate(self.numbers.items()):
            columns[name] = (wide[:, k] * deviation + mean).tolist()
        at = len(self.numbers)
        for name, size in self.vectors.items():
            columns[name] = wide[:, at : at + size].tolist()
            at += size
        return [{name: held[row] for name, held in columns.items()} for row in range(len(codes))]

    def plain(self) -> dict[str, Any]:
        """Return JSON values; :meth:`of` takes them back."""
        return {
            "categories": self.categories,
            "numbers": {name: list(pair) for name, pair in self.numbers.items()},
            "vectors": self.vectors,
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> ColumnEncoder:
        """Return the encoder of :meth:`plain`'s values."""
        numbers = {name: (pair[0], pair[1]) for name, pair in plain["numbers"].items()}
        return cls(plain["categories"], numbers, plain["vectors"])


def _holds_lists(column: pd.Series) -> bool:
    return len(column) > 0 and isinstance(column.iloc[0], list | tuple | np.ndarray)


def _finite(column: pd.Series, name: str, where: str) -> NDArray[np.float64]:
    try:
        values = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InteractionError(f"{where}, column {name!r} holds numbers: {error}") from error
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InteractionError(
            f"{where}, column {name!r}, row {row}: {values[row]}; fill it, or cast the column to "
            "text, where a missing value is a category of its own"
        )
    return values


def _lists(column: pd.Series, size: int, name: str, where: str) -> NDArray[np.float64]:
    for row, value in enumerate(column):
        fits = isinstance(value, list | tuple | np.ndarray) and len(value) == size
        if not fits or not np.isfinite(np.asarray(value, dtype=np.float64)).all():
            raise InteractionError(
                f"{where}, column {name!r}, row {row}: expected {size} finite numbers"
            )
    return np.stack([np.asarray(value, dtype=np.float64) for value in column])
