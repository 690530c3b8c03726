"""Recommendations for files of histories, with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mamba_core.file_batches import Progress, file_by_file
from mamba_recsys import interactions as I
from mamba_recsys.interactions import Contexts, InteractionError, Interactions
from mamba_recsys.next_item.config import NextItemPredict
from mamba_recsys.next_item.model import NextItemModel
from mamba_recsys.next_item.scorer import ModelScorer
from mamba_recsys.readers import Columns, Rows, read
from mamba_recsys.topk import long_form, top_k
from mamba_registry import TaskSpec


class FileRecommender:
    """A trained model for files: for each user of a file the items that may come next.

    A model knows items by number; the file it was trained on (``catalogue``) gives their names.
    :class:`~mamba_recsys.Recommender` keeps the names itself.

    :param model: in eval mode.
    :param config: see :class:`~mamba_recsys.next_item.config.NextItemPredict`.
    :param spec: the task's record.
    :param device: where the model came from; it is used on the CPU.
    :raises InteractionError: for a catalogue of another size than the model's.
    """

    def __init__(
        self,
        model: NextItemModel,
        config: NextItemPredict | None = None,
        *,
        spec: TaskSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec, self.config = spec, config or NextItemPredict()
        self.model = model.to("cpu")
        self.columns = Columns(self.config.user, self.config.item, self.config.time)
        self.ids = self._names()
        self.scorer = ModelScorer(self.model, self.config.max_length)

    def _names(self) -> Any:
        size, path = self.model.config.items, self.config.catalogue
        if path is None:
            return np.arange(size)
        users, items, times = read(path, self.columns)
        data = I.make_interactions(
            users, items, times, duplicates="keep", min_item_events=self.config.min_item_events
        )
        if len(data.catalogue) != size:
            raise InteractionError(
                f"catalogue {path} has {len(data.catalogue)} items, the model {size}: give the "
                "file it was trained on, and the same min_item_events"
            )
        return data.catalogue

    def recommend(self, rows: Rows) -> pd.DataFrame:
        """Return ``user_id, item_id, score, rank`` for every user of some events.

        :param rows: users, items and times, as :func:`mamba_recsys.readers.read` gives them.
        :raises InteractionError: for events that cannot be used, and unknown items.
        """
        users, items, times = rows
        data = I.make_interactions(users, items, times, duplicates="keep", catalogue=self.ids)
        parts = [
            self._some(data, start, min(start + self.config.batch_size, len(data.users)))
            for start in range(0, len(data.users), self.config.batch_size)
        ]
        return pd.concat(parts, ignore_index=True)

    def _some(self, data: Interactions, first: int, last: int) -> pd.DataFrame:
        contexts = Contexts(data, data.offsets[first:last], data.offsets[first + 1 : last + 1])
        seen = list(contexts) if self.config.filter_seen else None
        vectors = self.scorer.vectors(contexts)
        scores, numbers = top_k(vectors, self.scorer.item_vectors, self.config.k, exclude=seen)
        names = (self.columns.user, self.columns.item, "score", "rank")
        answers = long_form(data.users[first:last].tolist(), self.ids, scores, numbers)
        return pd.DataFrame(dict(zip(names, answers, strict=True)))

    def run(
        self,
        inputs: Sequence[Path],
        out: Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> list[dict[str, Any]]:
        """Work on each file, into ``out/<file name>_recommendations.csv``.

        One bad file among several does not stop the others.

        :param overwrite: replace outputs that are there.
        :param progress: called after every file.
        :returns: per file ``file, output, users, filter_seen``; of bad ones, at the end,
            ``file, error``.
        :raises FileNotFoundError: when there is no such file, and no other.
        :raises FileExistsError: when an output is there and ``overwrite`` is not set.
        :raises InteractionError: for a file that cannot be used, and no other.
        """

        def write(path: Path, target: Path) -> dict[str, Any]:
            table = self.recommend(read(path, self.columns))
            table.to_csv(target, index=False)
            users = int(table[self.columns.user].nunique())
            return {"users": users, "filter_seen": self.config.filter_seen}

        return file_by_file(
            inputs, out, "_recommendations.csv", write, overwrite=overwrite, progress=progress
        )
