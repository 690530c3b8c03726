"""``Recommender``: a table of events in, a table of recommendations out; states that live on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from mamba_recsys import interactions as I
from mamba_recsys import saved
from mamba_recsys.baselines import BASELINES, REPORTED
from mamba_recsys.estimator import HoldOut
from mamba_recsys.evaluation import Evaluation, Progress, evaluate
from mamba_recsys.frame import native
from mamba_recsys.interactions import Contexts, InteractionError, listed
from mamba_recsys.state.streaming import Streaming
from mamba_recsys.state.user_state import as_seconds
from mamba_recsys.topk import long_form, top_k


class UnknownUserError(InteractionError):
    """A user that was not fitted."""


@dataclass(frozen=True)
class Report:
    """What :meth:`Recommender.evaluate` measured."""

    table: pd.DataFrame
    """A row per recommender and convention: ``model``, ``filter_seen``, measures."""
    by_popularity: pd.DataFrame
    """The model's measures by how frequent the target is in training."""
    by_length: pd.DataFrame
    """The model's measures by the length of the history."""

    def __str__(self) -> str:
        parts = (self.table, self.by_popularity, self.by_length)
        return "\n\n".join(part.to_string(index=False, float_format="%.4f") for part in parts)


class Recommender(Streaming):
    """Fit on a table of events (``user_id, item_id, timestamp``), then recommend.

    :param model: a preset of ``rec-next``.
    :param item_features: columns of the table of items that enter the items' vectors. Text is
        categorical, numbers are standardised, lists are taken as they are.
    :param event_features: columns of the events, the same.
    :param hold_out: ``leave-one-out`` keeps each user's last two events out of training, to
        choose by and to report; ``temporal`` all events behind two moments; None trains on all,
        and nothing can be reported.
    :param fields: fields of :class:`~mamba_recsys.next_item.config.NextItemConfig`.
    :param data: of :class:`~mamba_recsys.next_item.config.NextItemData`, ``objective`` and
        ``max_length`` above all.
    :param train: of :class:`~mamba_recsys.next_item.config.NextItemTrain`.
    :param columns: what the columns are called, when not ``user_id, item_id, timestamp``.
    :param duplicates: what is done about rows with the same user, item and time.
    :param seed: of weights and training.
    """

    filters_seen: ClassVar[bool] = True
    """Whether what somebody had is left out when nothing is said."""
    ks: ClassVar[tuple[int, ...]] = (10,)
    """Lengths of lists that are reported when nothing is said."""

    # recommending

    def recommend(
        self,
        users: Iterable[Any] | None = None,
        k: int = 10,
        *,
        filter_seen: bool | None = None,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] = (),
        at: Any = None,
    ) -> Any:
        """Return the best items of users that were fitted, from all of their events.

        :param users: raw ids; None takes all.
        :param filter_seen: leave out what the user had before; None does it for users and not for
            sessions. The result's ``attrs["filter_seen"]`` (pandas) says what was done.
        :param allow: only these items; None allows all.
        :param deny: not these.
        :param at: a moment; only events before it are read. None reads all.
        :returns: a table like the one that was fitted: ``user_id, item_id, score, rank``. A user
            may have fewer than ``k`` rows where fewer candidates are left. Users without any event
            get what is popular; ``attrs["popularity"]`` names them.
        :raises UnknownUserError: for a user that was not fitted; see :meth:`recommend_from_items`.
        :raises ValueError: for a ``k`` that is not in 1 .. items.
        """
        data = self.fitted.data
        wanted = data.users.tolist() if users is None else listed(users, "user")
        rows = self._user_rows(wanted)
        starts, stops = data.offsets[rows], data.offsets[rows + 1]
        if at is not None:
            early = data.times < as_seconds(at)
            stops = starts + np.array(
                [int(early[a:b].sum()) for a, b in zip(starts, stops, strict=True)], dtype=np.int64
            )
        contexts = Contexts(data, starts, stops)
        return self._table(wanted, contexts, k, filter_seen, allow, deny)

    def recommend_from_items(
        self,
        histories: Sequence[Sequence[Any]],
        k: int = 10,
        *,
        filter_seen: bool | None = None,
        allow: Iterable[Any] | None = None,
        deny: Iterable[Any] = (),
        unknown: str = "error",
    ) -> Any:
        """Return the best items of users nobody has seen, from lists of what each had.

        :param histories: raw ids, the last one last; a list may be empty.
        :param unknown: ``error``, or ``skip`` leaves out items that the catalogue does not hold;
            ``attrs["skipped"]`` counts them.
        :returns: as :meth:`recommend`, ``user_id`` being the number of the list.
        :raises UnknownItemError: naming an unknown item.
        """
        if self.event_columns:
            raise InteractionError(
                "the model reads columns of events, a list of items has none: use start and update"
            )
        parts, skipped = [], 0
        for history in histories:
            own = listed(history, "item")
            numbers = self._numbers(own, unknown)
            skipped += len(own) - len(numbers)
            parts.append(numbers)
        lengths = np.array([len(part) for part in parts], dtype=np.int64)
        offsets = np.concatenate([[0], lengths.cumsum()])
        flat = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        data = I.Interactions(
            users=np.arange(len(parts)),
            catalogue=self.fitted.catalogue.ids,
            items=flat,
            times=np.zeros(len(flat)),
            offsets=offsets,
        )
        contexts = Contexts(data, offsets[:-1], offsets[1:])
        table = self._table(list(range(len(parts))), contexts, k, filter_seen, allow, deny)
        if isinstance(table, pd.DataFrame):
            table.attrs["skipped"] = skipped
        return table

    def _user_rows(self, users: Sequence[Any]) -> NDArray[np.int64]:
        known = pd.Index(self.fitted.data.users)
        rows = known.get_indexer(pd.Index(users)) if len(users) else np.zeros(0, dtype=np.int64)
        kind = type(known.tolist()[0])  # pandas finds 3 for 3.0 and for True
        unknown = (rows < 0) | np.array([type(user) is not kind for user in users], dtype=bool)
        if unknown.any():
            first = users[int(np.flatnonzero(unknown)[0])]
            raise UnknownUserError(
                f"user {first!r} ({type(first).__name__}) is not among the {len(known)} that were "
                "fitted: recommend_from_items takes a list of what somebody new had"
            )
        return rows.astype(np.int64)

    def _table(
        self,
        users: Sequence[Any],
        contexts: Contexts,
        k: int,
        filter_seen: bool | None,
        allow: Iterable[Any] | None,
        deny: Iterable[Any],
    ) -> Any:
        """The best items behind each context, as a long table."""
        allowed = self._allowed(allow, deny)
        self._check_k(k)
        filter_seen = self.filters_seen if filter_seen is None else filter_seen
        scores, numbers, silent = [], [], []
        for start in range(0, max(len(contexts), 1), 256):  # nobody has an empty table
            part = contexts[start : start + 256]
            seen = [part[i] for i in range(len(part))] if filter_seen else None
            empty = (part.stops == part.starts) & (self.fitted.model.registers is None)
            one, other = self._best(self.fitted.scorer.vectors(part), k, seen, allowed, empty)
            scores.append(one)
            numbers.append(other)
            silent += [users[start + int(i)] for i in np.flatnonzero(empty)]
        names = (self.columns.user, self.columns.item, "score", "rank")
        ids = self.fitted.catalogue.ids
        answers = long_form(users, ids, torch.cat(scores), torch.cat(numbers))
        table = native(dict(zip(names, answers, strict=True)), self.kind)
        if isinstance(table, pd.DataFrame):
            table.attrs = {"filter_seen": filter_seen, "popularity": silent}
        return table

    def user_vectors(self, users: Iterable[Any] | None = None) -> NDArray[np.float32]:
        """Return what :meth:`item_vectors` are multiplied with, ``(users, d_model)``."""
        data = self.fitted.data
        rows = self._user_rows(data.users.tolist() if users is None else listed(users, "user"))
        contexts = Contexts(data, data.offsets[rows], data.offsets[rows + 1])
        vectors: NDArray[np.float32] = self.fitted.scorer.vectors(contexts).numpy()
        return vectors

    def similar_items(self, items: Iterable[Any], k: int = 10) -> Any:
        """Return the items whose vectors have the largest cosine with each of some items'.

        :returns: ``item_id, similar_id, score, rank``.
        :raises UnknownItemError: naming an unknown item.
        """
        self._check_k(k)
        wanted = listed(items, "item")
        numbers = self.fitted.catalogue.known(wanted)
        vectors = F.normalize(self.fitted.scorer.item_vectors, dim=-1)
        own = [np.array([n]) for n in numbers]
        allowed = torch.from_numpy(self.fitted.offered)
        chosen = vectors[torch.from_numpy(numbers)]
        scores, found = top_k(chosen, vectors, k, exclude=own, allowed=allowed)
        names = (self.columns.item, "similar_id", "score", "rank")
        answers = long_form(wanted, self.fitted.catalogue.ids, scores, found)
        return native(dict(zip(names, answers, strict=True)), self.kind)

    # judging

    def evaluate(
        self,
        split: HoldOut | None = None,
        *,
        filter_seen: bool | None = None,
        ks: Sequence[int] | None = None,
        baselines: Sequence[str] = REPORTED,
        progress: Progress | None = None,
    ) -> Report:
        """Measure the model on the held-out targets, beside what counts.

        :param split: must be the one that was fitted with: other targets were trained on.
        :param filter_seen: one convention; None reports both.
        :param ks: lengths of lists; None is 10, for sessions 20. Coverage is that of the first.
        :param baselines: names from :data:`~mamba_recsys.baselines.BASELINES`.
        :raises ValueError: for another split, or when nothing was held out.
        """
        fitted = self.fitted
        if (split is not None and split != self.hold_out) or self.hold_out is None:
            raise ValueError(
                f"fitted with hold_out = {self.hold_out!r}, so targets of split = {split!r} were "
                "trained on: fit with hold_out set to the split to be reported"
            )
        ks = self.ks if ks is None else ks
        catalogue = len(fitted.catalogue)
        histories = I.training_histories(fitted.data, fitted.parts)
        scorers: dict[str, Any] = {self.name: fitted.scorer}
        scorers |= {name: BASELINES[name](histories, catalogue) for name in baselines}
        found: dict[str, Evaluation] = {}
        for name, scorer in scorers.items():
            found[name] = evaluate(
                scorer, fitted.data, fitted.parts.test, longest=fitted.scorer.max_length, k=ks[0],
                progress=progress,
            )  # fmt: skip
        tables = [one.table(ks).assign(model=name) for name, one in found.items()]
        table = pd.concat(tables, ignore_index=True)
        if filter_seen is not None:
            table = table[table["filter_seen"] == filter_seen].reset_index(drop=True)
        own = found[self.name]
        counts = I.training_counts(fitted.data, fitted.parts)
        front = ["model", "filter_seen"]
        return Report(
            table[front + [name for name in table if name not in front]],
            own.by_popularity(counts, ks[0]),
            own.by_length(k=ks[0]),
        )

    # keeping

    def save(self, folder: Path | str) -> Path:
        """Write model, names, events and settings; :meth:`load` takes them back, bit for bit."""
        return saved.save(self, Path(folder))

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Return a recommender that :meth:`save` wrote.

        :raises WeightsError: for a folder that holds none.
        """
        return saved.load(cls, Path(folder))
