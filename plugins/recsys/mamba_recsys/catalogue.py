"""Raw ids of items and their numbers; new ones come behind the old, so that numbers stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamba_recsys.interactions import InteractionError, check_ids, listed


class UnknownItemError(InteractionError):
    """An item that the catalogue does not hold."""


class Catalogue:
    """The items a model knows, in the order of their numbers.

    :param ids: raw ids, all of one type, each once.
    """

    def __init__(self, ids: NDArray[Any]) -> None:
        check_ids(ids, "item")
        self.ids = ids
        self._index = pd.Index(ids)
        if not self._index.is_unique:
            again = self._index[self._index.duplicated()].tolist()[0]
            raise InteractionError(f"item {again!r} is twice in the catalogue")

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Return the numbers of raw ids, -1 for unknown ones."""
        wanted = listed(ids, "item")
        if not wanted:
            return np.zeros(0, dtype=np.int64)
        self._check_type(wanted)
        return self._index.get_indexer(pd.Index(wanted)).astype(np.int64)

    def known(self, ids: Iterable[Any]) -> NDArray[np.int64]:
        """Return the numbers of raw ids.

        :raises UnknownItemError: naming the first unknown one.
        """
        wanted = listed(ids, "item")
        numbers = self.numbers(wanted)
        if (numbers < 0).any():
            first = wanted[int(np.flatnonzero(numbers < 0)[0])]
            raise UnknownItemError(
                f"item {first!r} is not among the {len(self)} of the catalogue: add it with "
                "add_items, or leave it out"
            )
        return numbers

    def extended(self, ids: Sequence[Any]) -> Catalogue:
        """Return a catalogue with more items behind these.

        :raises InteractionError: for one that is there already, or of another type.
        """
        self._check_type(ids)
        there = self.numbers(ids) >= 0
        if there.any():
            first = ids[int(there.argmax())]
            raise InteractionError(f"item {first!r} is in the catalogue already: add it once")
        more = np.array(list(ids), dtype=self.ids.dtype)
        return Catalogue(np.concatenate([self.ids, more]))

    def _check_type(self, ids: Sequence[Any]) -> None:
        numeric = self.ids.dtype.kind in "iu"
        for one in ids:
            if isinstance(one, int) != numeric or isinstance(one, bool | float):
                raise InteractionError(
                    f"item {one!r} is {type(one).__name__}, the catalogue's ids are "
                    f"{'int' if numeric else 'text'}: cast it"
                )

    def plain(self) -> list[Any]:
        """Return the ids as JSON values."""
        return self.ids.tolist()

    @classmethod
    def of(cls, ids: Sequence[Any]) -> Catalogue:
        """Return the catalogue of :meth:`plain`'s list."""
        numeric = bool(len(ids)) and isinstance(ids[0], int)
        return cls(np.array(list(ids), dtype=np.int64 if numeric else object))
