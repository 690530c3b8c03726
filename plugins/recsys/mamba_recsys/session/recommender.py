"""``SessionRecommender``: the same interface for sessions of somebody unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from mamba_core.file_batches import Progress
from mamba_recsys.estimator import HoldOut
from mamba_recsys.frame import as_rows
from mamba_recsys.interactions import Duplicates, InteractionError
from mamba_recsys.next_item.config import NextItemTrain
from mamba_recsys.readers import Columns, from_table
from mamba_recsys.recommender import Recommender
from mamba_recsys.session.config import SessionTrain
from mamba_recsys.session.data import cut_by_pauses


class SessionRecommender(Recommender):
    """Fit on a table of sessions (``session_id, item_id, timestamp``), then recommend.

    A session is what a user is to :class:`~mamba_recsys.Recommender`. Sessions are held out by
    the time they begin, every event of a held-out one but its first is a target, and what a
    session had may come again.

    :param model: a preset of ``rec-session``.
    :param gap: a pause of more seconds begins a new session of the same visitor, in what is
        fitted and in what is served; None takes ids as they are.
    :param data: ``max_length`` (50 events), ``objective``, ``val_share``, ``test_share``.
    :param train: of :class:`~mamba_recsys.session.config.SessionTrain`.
    :param columns: what the columns are called.
    """

    task: ClassVar[str] = "rec-session"
    hold_outs: ClassVar[tuple[HoldOut, ...]] = ("sessions",)
    train_defaults: ClassVar[type[NextItemTrain]] = SessionTrain
    filters_seen: ClassVar[bool] = False
    ks: ClassVar[tuple[int, ...]] = (20,)

    def __init__(
        self,
        model: str = "mamba2_packed",
        *,
        gap: float | None = None,
        item_features: Sequence[str] = (),
        event_features: Sequence[str] = (),
        hold_out: HoldOut | None = "sessions",
        fields: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        train: Mapping[str, Any] | None = None,
        columns: Columns | None = None,
        duplicates: Duplicates = "keep",
        seed: int = 0,
    ) -> None:
        if gap is not None and not gap > 0:
            raise ValueError(f"gap = {gap!r} must be above 0 seconds, or None")
        super().__init__(
            model,
            item_features=item_features,
            event_features=event_features,
            hold_out=hold_out,
            fields=fields,
            data={"max_length": 50, **(data or {})},
            train=train,
            columns=columns or self.named(None, "item_id", "timestamp"),
            duplicates=duplicates,
            seed=seed,
        )
        self.gap = gap

    @staticmethod
    def named(user: str | None, item: str, time: str) -> Columns:
        """See :meth:`Recommender.named`."""
        return Columns(user or "session_id", item, time)

    def settings(self) -> dict[str, Any]:
        """See :meth:`Recommender.settings`."""
        return {**super().settings(), "gap": self.gap}

    def fit(self, df: Any, items: Any = None, *, progress: Progress | None = None) -> Self:
        """Learn from sessions; see :meth:`Recommender.fit`.

        With ``gap`` the fitted sessions are numbered from 0 on, visitor by visitor.

        :raises InteractionError: for tables that cannot be used, one without times among them.
        """
        table, kind = as_rows(df, self.columns)
        visitors, _, times = from_table(table, self.columns, "the table")
        if times is None:
            raise InteractionError(
                f"the table has no column {self.columns.time!r}: sessions are held out by time"
            )
        if self.gap is not None:
            numbers = cut_by_pauses(visitors, times, self.gap)
            table = table.assign(**{self.columns.user: numbers})
        super().fit(table, items, progress=progress)
        self.kind = kind
        return self
