"""Fitting on tables: the first half of ``Recommender``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter

from mamba_core import registry
from mamba_recsys import fit as fitting
from mamba_recsys import interactions as I
from mamba_recsys.catalogue import Catalogue
from mamba_recsys.encoder import ColumnEncoder
from mamba_recsys.frame import PANDAS, as_pandas, as_rows, rows_of
from mamba_recsys.interactions import Duplicates, InteractionError, Interactions, Parts
from mamba_recsys.next_item.config import Features, NextItemData, NextItemTrain
from mamba_recsys.next_item.data import TrainSplit, check_positions
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.next_item.scorer import ModelScorer
from mamba_recsys.readers import Columns, from_table, ids
from mamba_registry.configs import make_config

HoldOut = Literal["leave-one-out", "temporal", "sessions"]


class Estimator:
    """Settings and what was learnt; see :class:`~mamba_recsys.recommender.Recommender`."""

    task: ClassVar[str] = "rec-next"
    hold_outs: ClassVar[tuple[HoldOut, ...]] = ("leave-one-out", "temporal")
    train_defaults: ClassVar[type[NextItemTrain]] = NextItemTrain

    def __init__(
        self,
        model: str = "mamba4rec",
        *,
        item_features: Sequence[str] = (),
        event_features: Sequence[str] = (),
        hold_out: HoldOut | None = "leave-one-out",
        fields: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        train: Mapping[str, Any] | None = None,
        columns: Columns | None = None,
        duplicates: Duplicates = "error",
        seed: int = 0,
    ) -> None:
        presets = registry.spec(self.task).presets
        if model not in presets:
            raise ValueError(f"model = {model!r} must be one of {', '.join(presets)}")
        if hold_out not in (*self.hold_outs, None):
            known = ", ".join(map(repr, self.hold_outs))
            raise ValueError(f"hold_out = {hold_out!r}: {known} or None")
        if duplicates not in get_args(Duplicates):
            known = ", ".join(map(repr, get_args(Duplicates)))
            raise ValueError(f"duplicates = {duplicates!r}: {known}")
        self.name, self.fields, self.seed = model, dict(fields or {}), seed
        self.item_columns, self.event_columns = tuple(item_features), tuple(event_features)
        self.hold_out, self.duplicates = hold_out, duplicates
        self.columns = columns or Columns()
        split = "temporal" if hold_out == "temporal" else "leave_one_out"
        # the path is not used: the table comes from memory
        self.data_config: NextItemData = make_config(
            NextItemData, {"path": "-", "split": split, **(data or {})}
        )
        self.train_config: NextItemTrain = make_config(
            self.train_defaults, {"seed": seed, **(train or {})}
        )
        self.result: fitting.FitResult | None = None
        self.kind = PANDAS
        self._fitted: Fitted | None = None

    @property
    def fitted(self) -> Fitted:
        """What was learnt.

        :raises ValueError: before :meth:`fit`.
        """
        if self._fitted is None:
            raise ValueError("fit first, or load a saved recommender")
        return self._fitted

    @staticmethod
    def named(user: str | None, item: str, time: str) -> Columns:
        """Return names of columns; None is the task's usual one."""
        return Columns(user or "user_id", item, time)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that make an equal recommender, as JSON values."""

        def plain(config: Any) -> Any:
            return TypeAdapter(type(config)).dump_python(config, mode="json")

        return {
            "model": self.name,
            "item_features": list(self.item_columns),
            "event_features": list(self.event_columns),
            "hold_out": self.hold_out,
            "fields": json.loads(json.dumps(self.fields)),
            "data": plain(self.data_config),
            "train": plain(self.train_config),
            "columns": dataclasses.asdict(self.columns),
            "duplicates": self.duplicates,
            "seed": self.seed,
        }

    def fit(self, df: Any, items: Any = None, *, progress: fitting.Progress | None = None) -> Self:
        """Learn from interactions.

        :param df: a row per event; pandas, polars, or the path of a file that
            :func:`mamba_recsys.readers.read` knows.
        :param items: a row per item with the columns of ``item_features``; items without events
            may be in it (cold ones), and every item of ``df`` must be.
        :param progress: called with ``("training", steps done, in all)``.
        :returns: itself.
        :raises InteractionError: for tables that cannot be used.
        """
        table, self.kind = as_rows(df, self.columns)
        users, raw, times = from_table(table, self.columns, "the table")
        item_table = None if items is None else as_pandas(items)[0]
        catalogue = Catalogue(_every_item(raw, item_table, self.columns.item))
        events = ColumnEncoder.learn(table, self.event_columns, "the table")
        codes, numbers = events.encode(table, "the table")
        data = I.make_interactions(
            users,
            raw,
            times,
            duplicates=self.duplicates,
            catalogue=catalogue.ids,
            codes=codes,
            numbers=numbers,
        )
        columns = self._item_columns(item_table)
        model = self._build(len(catalogue), columns.config, events.config)
        if item_table is not None and columns:
            rows = rows_of(item_table, catalogue.plain(), self.columns.item)
            _place_columns(model, columns, rows)
        parts = self._parts(data)
        check_positions(model.config, self.data_config.prefixes)
        split = TrainSplit(
            data,
            parts,
            self.data_config.objective,
            self.data_config.max_length,
            prefixes=self.data_config.prefixes,
            seed=self.seed,
        )
        longest = self.data_config.max_length
        self.result = fitting.fit(
            model, split, data, parts, self.train_config, max_length=longest, progress=progress
        )
        counts = I.training_counts(data, parts)
        _forget_untrained(model, counts)
        offered = np.ones(len(catalogue), dtype=bool) if columns else counts > 0
        self._fitted = Fitted(model, longest, catalogue, data, parts, offered, columns, events)
        return self

    def _build(self, items: int, item_features: Features, event_features: Features) -> Any:
        """A model with its initial weights."""
        torch.manual_seed(self.seed)
        own = {"items": items, "item_features": item_features, "event_features": event_features}
        return registry.build(self.task, preset=self.name, **{**self.fields, **own})

    def _item_columns(self, table: pd.DataFrame | None) -> ColumnEncoder:
        if self.item_columns and table is None:
            raise InteractionError(
                f"item_features = {self.item_columns} are columns of a table of items: give "
                "fit(df, items)"
            )
        return ColumnEncoder.learn(
            pd.DataFrame() if table is None else table, self.item_columns, "the table of items"
        )

    def _parts(self, data: Interactions) -> Parts:
        config = self.data_config
        if self.hold_out is None:
            nothing = np.zeros(0, dtype=np.int64)
            return Parts(data.offsets[1:], nothing, nothing)
        if self.hold_out == "temporal":
            return I.temporal(data, val_share=config.val_share, test_share=config.test_share)
        if self.hold_out == "sessions":
            return I.sessions(data, val_share=config.val_share, test_share=config.test_share)
        return I.leave_one_out(data)


class Fitted:
    """A trained model, the events it learnt from, and the names of items.

    :param offered: bool ``(items,)``: what may be recommended.
    :param key: names the weights; states of another key are refused. None makes it.
    """

    def __init__(
        self,
        model: NextItemModel,
        max_length: int | None,
        catalogue: Catalogue,
        data: Interactions,
        parts: Parts,
        offered: NDArray[np.bool_],
        item_columns: ColumnEncoder,
        event_columns: ColumnEncoder,
        key: str | None = None,
    ) -> None:
        self.model, self.catalogue, self.data, self.parts = model, catalogue, data, parts
        self.item_columns, self.event_columns = item_columns, event_columns
        self.offered = offered
        self.scorer = ModelScorer(model, max_length)
        counts = I.training_counts(data, parts)
        self.popularity = counts / max(counts.sum(), 1)
        self.key = model_key(model) if key is None else key


def model_key(model: NextItemModel) -> str:
    """Return a name of a model's weights and form: equal models have equal names."""
    adapter = TypeAdapter(type(model.config))
    digest = hashlib.sha256(adapter.dump_json(model.config))
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _every_item(raw: NDArray[Any], table: pd.DataFrame | None, column: str) -> NDArray[Any]:
    """All raw ids, of events and of the table, sorted."""
    I.check_ids(raw, "item")
    if table is None:
        return np.unique(raw)
    if column not in table:
        raise InteractionError(f"the table of items has no column {column!r}")
    more = ids(table[column])
    I.check_ids(more, "the table of items: item")
    if more.dtype != raw.dtype:
        kinds = ["numbers" if one.dtype.kind == "i" else "text" for one in (more, raw)]
        raise InteractionError(
            f"items are {kinds[0]} in the table of items and {kinds[1]} in the events: cast one"
        )
    missing = np.setdiff1d(raw, more).tolist()
    if missing:
        raise InteractionError(
            f"item {missing[0]!r} has events but no row in the table of items ({len(missing)} "
            "such items): add the rows"
        )
    return np.unique(np.concatenate([raw, more]))


def _place_columns(model: NextItemModel, columns: ColumnEncoder, table: pd.DataFrame) -> None:
    """Give a model what the columns of its items say, rows in the order of their numbers."""
    codes, numbers = columns.encode(table, "the table of items")
    model.item_codes.copy_(torch.from_numpy(codes))
    model.item_numbers.copy_(torch.from_numpy(numbers))


@torch.no_grad()
def _forget_untrained(model: NextItemModel, counts: NDArray[np.int64]) -> None:
    """Items without events keep what their columns say: the rest was only ever pushed away."""
    model.item_embedding.weight[torch.from_numpy(counts == 0)] = 0
