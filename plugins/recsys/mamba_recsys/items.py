"""What a fitted recommender does with its items: more of them, fewer, their vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mamba_recsys.estimator import Estimator, Fitted
from mamba_recsys.frame import as_pandas, rows_of
from mamba_recsys.index import export_vectors
from mamba_recsys.interactions import InteractionError, listed
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.topk import top_k


class Items(Estimator):
    """The part of ``Recommender`` that is about the catalogue."""

    def item_vectors(self) -> NDArray[np.float32]:
        """Return the items' vectors in the order of :meth:`item_ids`, ``(items, d_model)``.

        Scores are their inner products with :meth:`user_vectors`; an index for approximate search
        by inner product is built from them as they are.
        """
        vectors: NDArray[np.float32] = self.fitted.scorer.item_vectors.numpy().copy()
        return vectors

    def export_vectors(self, folder: Path | str) -> list[Path]:
        """Write the vectors of the items that may be recommended, for a search of one's own.

        See :func:`mamba_recsys.index.export_vectors`.
        """
        own = self.fitted.offered
        return export_vectors(Path(folder), self.item_vectors()[own], self.item_ids()[own])

    def item_ids(self) -> NDArray[Any]:
        """Return the raw ids in the order of their numbers."""
        return self.fitted.catalogue.ids.copy()

    def add_items(self, ids: Sequence[Any], *, items: Any = None, vectors: Any = None) -> Self:
        """Add items behind the known ones; weights, other scores and users' states stay.

        A new item's vector is what is given in ``vectors``; else what its columns say, for a
        model with ``item_features``; else the mean of all vectors, and then it may stand in
        histories but is not recommended before the next training.

        :param ids: raw ids of the catalogue's type.
        :param items: a table with a row for each and the columns of ``item_features``.
        :param vectors: ``(new items, d_model)``.
        :raises InteractionError: for an item that is there, missing columns, or wrong vectors.
        """
        table = None if items is None else as_pandas(items)[0]
        old, ids = self.fitted, listed(ids, "item")
        catalogue = old.catalogue.extended(ids)
        model = old.model
        grown = _grown(model, len(catalogue))
        new = slice(len(old.catalogue), len(catalogue))
        placed = False
        with torch.no_grad():
            if old.item_columns:
                if table is None:
                    raise InteractionError("the model reads columns of items: give a table of them")
                rows = rows_of(table, ids, self.columns.item)
                codes, numbers = old.item_columns.encode(rows, "the table of items")
                grown.item_codes[new] = torch.from_numpy(codes)
                grown.item_numbers[new] = torch.from_numpy(numbers)
                placed = True
            if vectors is not None:
                grown.item_embedding.weight[new] = _checked(vectors, len(ids), model)
                placed = True
            elif not old.item_columns:
                trained = torch.from_numpy(old.popularity > 0)
                mean = model.item_embedding.weight[trained].mean(0)
                grown.item_embedding.weight[new] = mean
        offered = np.concatenate([old.offered, np.full(len(ids), placed)])
        self._fitted = Fitted(
            grown,
            old.scorer.max_length,
            catalogue,
            dataclasses.replace(old.data, catalogue=catalogue.ids),
            old.parts,
            offered,
            old.item_columns,
            old.event_columns,
            key=old.key,  # states stay good: what they were made with is unchanged
        )
        return self

    def remove_items(self, ids: Iterable[Any]) -> Self:
        """Recommend some items no longer; in histories they are still read.

        :raises UnknownItemError: naming an unknown item.
        """
        self.fitted.offered[self.fitted.catalogue.known(ids)] = False
        return self

    def _best(
        self,
        vectors: Tensor,
        k: int,
        seen: Sequence[NDArray[np.int64]] | None,
        allowed: Tensor,
        empty: NDArray[np.bool_],
    ) -> tuple[Tensor, Tensor]:
        """Scores and numbers of the best items; users who said nothing get what is popular."""
        items = self.fitted.scorer.item_vectors
        scores, numbers = top_k(vectors, items, k, exclude=seen, allowed=allowed)
        if empty.any():
            popular = torch.from_numpy(self.fitted.popularity).to(vectors)[:, None]
            one, other = top_k(vectors.new_ones(1, 1), popular, k, allowed=allowed)
            scores[torch.from_numpy(empty)] = one
            numbers[torch.from_numpy(empty)] = other
        return scores, numbers

    def _allowed(self, allow: Iterable[Any] | None, deny: Iterable[Any]) -> Tensor:
        """Bool ``(items,)``: what may be recommended."""
        allowed = self.fitted.offered.copy()
        if allow is not None:
            only = np.zeros(len(allowed), dtype=bool)
            only[self.fitted.catalogue.known(allow)] = True
            allowed &= only
        allowed[self.fitted.catalogue.known(deny)] = False
        return torch.from_numpy(allowed)

    def _check_k(self, k: int) -> None:
        most = len(self.fitted.catalogue)
        whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
        if not whole or not 1 <= k <= most:
            raise ValueError(f"k = {k!r} must be a whole number in 1 .. {most}, the catalogue")

    def _numbers(self, ids: Iterable[Any], unknown: str) -> NDArray[np.int64]:
        """Numbers of raw ids; unknown ones are an error or left out."""
        if unknown not in ("error", "skip"):
            raise ValueError(f"unknown = {unknown!r}: 'error' or 'skip'")
        if unknown == "error":
            return self.fitted.catalogue.known(ids)
        numbers = self.fitted.catalogue.numbers(ids)
        return numbers[numbers >= 0]


def _grown(model: NextItemModel, items: int) -> NextItemModel:
    """A model with more rows behind the same weights; new rows are zero."""
    grown = NextItemModel(dataclasses.replace(model.config, items=items))
    state = model.state_dict()
    for name in ("item_embedding.weight", "item_codes", "item_numbers"):
        held = state[name]
        state[name] = torch.cat([held, held.new_zeros(items - len(held), *held.shape[1:])])
    grown.load_state_dict(state)
    record = getattr(model, "task", None)
    if record is not None:
        task: Any = dataclasses.replace(record, config=grown.config)
        nn.Module.__setattr__(grown, "task", task)
    return grown.eval()


def _checked(vectors: Any, count: int, model: NextItemModel) -> Tensor:
    given = torch.as_tensor(np.asarray(vectors), dtype=model.item_embedding.weight.dtype)
    if given.shape != (count, model.config.d_model) or not torch.isfinite(given).all():
        raise InteractionError(
            f"vectors {tuple(given.shape)} must be finite, {(count, model.config.d_model)}"
        )
    return given
