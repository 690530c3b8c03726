"""Who took what, and when: one packed row of events per data set, users end to end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Duplicates = Literal["error", "keep", "drop"]
"""What is done about rows with the same user, item and time."""


class InteractionError(ValueError):
    """Interactions that cannot be used; the message names the row, the rule and the way out."""


def _nothing() -> NDArray[Any]:
    return np.zeros((0, 0))


@dataclass(frozen=True)
class Interactions:
    """Events in the order of users, then time; equal times keep the order of their rows."""

    users: NDArray[Any]
    """Raw ids, sorted, ``(users,)``."""
    catalogue: NDArray[Any]
    """Raw ids of the items, sorted, ``(items,)``."""
    items: NDArray[np.int64]
    """Numbers of the items, ``(events,)``."""
    times: NDArray[np.float64]
    """Seconds, ``(events,)``."""
    offsets: NDArray[np.int64]
    """Where each user begins, and the total, ``(users + 1,)``."""
    codes: NDArray[np.int64] = field(default_factory=_nothing)
    """Categorical columns of the events, ``(events, columns)``."""
    numbers: NDArray[np.float32] = field(default_factory=_nothing)
    """Numeric columns of the events, ``(events, columns)``."""

    def __post_init__(self) -> None:
        for name in ("codes", "numbers"):
            if not len(getattr(self, name)) and len(self.items):
                kind = np.int64 if name == "codes" else np.float32
                object.__setattr__(self, name, np.zeros((len(self.items), 0), dtype=kind))

    def history(self, user: int) -> NDArray[np.int64]:
        """Return a user's items in order."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def counts(self) -> NDArray[np.int64]:
        """Return how many events each item has, ``(items,)``."""
        return np.bincount(self.items, minlength=len(self.catalogue))


def make_interactions(
    users: NDArray[Any],
    items: NDArray[Any],
    times: NDArray[np.float64] | None = None,
    *,
    duplicates: Duplicates = "error",
    min_item_events: int = 0,
    min_user_events: int = 0,
    codes: NDArray[np.int64] | None = None,
    numbers: NDArray[np.float32] | None = None,
    catalogue: NDArray[Any] | None = None,
) -> Interactions:
    """Number users and items and sort the events.

    :param users, items: raw ids, ``(events,)``.
    :param times: seconds; None takes the order of the rows.
    :param min_item_events: items with fewer events are left out first, then
    :param min_user_events: users with fewer; once each, as the data sets' own protocols do.
    :param catalogue: sorted raw ids, when items are numbered already; others are an error.
    :raises InteractionError: for missing values, ids of mixed types, duplicates.
    """
    if not len(users):
        raise InteractionError("there is no event: give at least one row")
    check_ids(users, "user")
    check_ids(items, "item")
    if times is not None and not np.isfinite(times).all():
        row = int(np.flatnonzero(~np.isfinite(times))[0])
        raise InteractionError(f"row {row}: the time is missing or infinite; fill or drop the row")
    keep = np.arange(len(users))
    if times is not None and duplicates != "keep":
        keep = _without_duplicates(users, items, times, duplicates)
    keep = keep[_frequent(items[keep], min_item_events)]
    keep = keep[_frequent(users[keep], min_user_events)]
    if not len(keep):
        raise InteractionError(
            f"no event is left of min_item_events = {min_item_events} and min_user_events = "
            f"{min_user_events}: lower them"
        )
    clock = np.arange(len(users), dtype=np.float64) if times is None else times
    names, who = np.unique(users[keep], return_inverse=True)
    if catalogue is None:
        catalogue, what = np.unique(items[keep], return_inverse=True)
    else:
        what = numbers_of(items[keep], catalogue)
    order = np.lexsort((clock[keep], who))  # stable: equal times keep the order of their rows
    rows = keep[order]
    return Interactions(
        users=names,
        catalogue=catalogue,
        items=what[order].astype(np.int64),
        times=clock[rows] if times is not None else np.zeros(len(rows)),
        offsets=np.concatenate([[0], np.bincount(who).cumsum()]),
        codes=_nothing() if codes is None else codes[rows],
        numbers=_nothing() if numbers is None else numbers[rows],
    )


def check_ids(ids: NDArray[Any], what: str) -> None:
    """Raise for ids that are missing, of several types, or neither whole numbers nor text.

    :raises InteractionError: naming the first such row.
    """
    missing = pd.isna(ids)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise InteractionError(f"row {row}: the {what} id is missing; drop the row")
    if ids.dtype.kind == "f":
        raise InteractionError(
            f"{what} ids are floating-point numbers: cast them to int or text, so that 1 and 1.0 "
            "cannot be two"
        )
    if ids.dtype.kind in "iuU":
        return
    kinds: dict[type, int] = {}
    for row, value in enumerate(ids.tolist()):
        kinds.setdefault(type(value), row)
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise InteractionError(
            f"{what} ids are of mixed types: {one.__name__} in row {first}, {other.__name__} in "
            f"row {second}; cast the column to one"
        )
    for kind in kinds:
        if kind is bool or not issubclass(kind, int | str):
            raise InteractionError(
                f"{what} ids are {kind.__name__}: a saved model names whole numbers and text only; "
                "cast the column to text"
            )


def listed(ids: Iterable[Any], what: str) -> list[Any]:
    """Return raw ids as plain Python values.

    :raises InteractionError: for one id alone: text would be taken letter by letter.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise InteractionError(f"{what} {ids!r} is one id, not a list of them: give [{ids!r}]")
    return [one.item() if isinstance(one, np.generic) else one for one in ids]


def numbers_of(items: NDArray[Any], catalogue: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of each raw id in a sorted catalogue.

    :raises InteractionError: for ids of another type, and naming one that is not in it.
    """
    if (items.dtype.kind in "iu") != (catalogue.dtype.kind in "iu"):
        raise InteractionError(
            f"items are {items.dtype}, the catalogue holds {catalogue.dtype}: cast one of them"
        )
    at = np.searchsorted(catalogue, items).clip(max=len(catalogue) - 1)
    unknown = catalogue[at] != items
    if unknown.any():
        raise InteractionError(
            f"item {items[unknown][0]} is not in the catalogue ({int(unknown.sum())} rows)"
        )
    return at


def _frequent(ids: NDArray[Any], least: int) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(ids, return_inverse=True, return_counts=True)
    return counts[inverse] >= least


def _without_duplicates(
    users: NDArray[Any], items: NDArray[Any], times: NDArray[np.float64], rule: Duplicates
) -> NDArray[np.int64]:
    _, who = np.unique(users, return_inverse=True)
    _, what = np.unique(items, return_inverse=True)
    keys = np.stack([who.astype(np.float64), what.astype(np.float64), times], axis=1)
    _, first = np.unique(keys, axis=0, return_index=True)
    if len(first) < len(users) and rule == "error":
        again = np.setdiff1d(np.arange(len(users)), first)
        row = int(again[0])
        raise InteractionError(
            f"row {row}: user {users[row]}, item {items[row]}, time {times[row]:.15g} was there "
            f"before ({len(again)} such rows): duplicates='drop' keeps one of each, 'keep' all"
        )
    return np.sort(first)


@dataclass(frozen=True)
class Parts:
    """Training, validation and test of interactions, by places in their row of events.

    An example is a place: the event there is the target, the user's events before it are the
    context.
    """

    train_end: NDArray[np.int64]
    """Where each user's training events end, ``(users,)``."""
    val: NDArray[np.int64]
    """Places of the targets to choose a model by."""
    test: NDArray[np.int64]
    """Places of the targets to report."""


def leave_one_out(data: Interactions) -> Parts:
    """Hold the last event of each user out for the test, the one before it for validation.

    Users with fewer than three events only train. The future of other users is in the training
    data: what is popular later is known earlier (2507.16289); :func:`temporal` avoids it.
    """
    ends = data.offsets[1:]
    long = data.offsets[1:] - data.offsets[:-1] >= 3
    return Parts(np.where(long, ends - 2, ends), ends[long] - 2, ends[long] - 1)


def temporal(data: Interactions, *, val_share: float, test_share: float) -> Parts:
    """Cut all users at the same two moments; no event of training is later than a target.

    The target of a user is the first event at or after a cut, from all events before it; users
    without an event on both sides of the cut are no examples of that part.

    :param val_share, test_share: part of all events behind each cut.
    :raises InteractionError: when the data has no times.
    """
    if data.times.min() == data.times.max():
        raise InteractionError("all times are equal: a temporal split needs times")
    moments = np.quantile(data.times, [1 - val_share - test_share, 1 - test_share])
    at = [_first_at(data, moment) for moment in moments]
    starts, ends = data.offsets[:-1], data.offsets[1:]
    examples = [cut[(cut > starts) & (cut < ends)] for cut in at]
    # between the cuts lies at least the validation target, or the user is of the test only
    val = at[0][(at[0] > starts) & (at[0] < at[1])]
    return Parts(at[0], val, examples[1])


def sessions(data: Interactions, *, val_share: float, test_share: float) -> Parts:
    """Cut sessions (the users of ``data``) by the time they begin; the last ones are the test.

    Every event of a held-out session but its first is a target. Targets that no training session
    holds are no examples: nothing could be learnt about them.

    :param val_share, test_share: part of all sessions.
    """
    order = np.argsort(data.times[data.offsets[:-1]], kind="stable")
    held = [round(len(order) * share) for share in (val_share, test_share)]
    train, *others = np.split(order, [len(order) - sum(held), len(order) - held[1]])
    ends = data.offsets[:-1].copy()
    ends[train] = data.offsets[1:][train]
    nothing = np.zeros(0, dtype=np.int64)
    known = training_counts(data, Parts(ends, nothing, nothing)) > 0
    first = np.zeros(len(data.items), dtype=bool)
    first[data.offsets[:-1]] = True
    targets = ~first & known[data.items]
    whose = np.repeat(np.arange(len(data.users)), np.diff(data.offsets))
    val, test = (np.flatnonzero(targets & np.isin(whose, part)) for part in others)
    return Parts(ends, val, test)


def _first_at(data: Interactions, moment: float) -> NDArray[np.int64]:
    """The place of each user's first event at or after a moment; the user's end without one."""
    early = np.add.reduceat((data.times < moment).astype(np.int64), data.offsets[:-1])
    return data.offsets[:-1] + early


def user_of(data: Interactions, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the user of each place."""
    return np.searchsorted(data.offsets, places, side="right") - 1


@dataclass(frozen=True)
class Contexts(Sequence[NDArray[np.int64]]):
    """What some users had before some moment: pieces of a row of events, seen as items' arrays."""

    data: Interactions
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Contexts(self.data, self.starts[index], self.stops[index])
        return self.data.items[self.starts[index] : self.stops[index]]

    def latest(self, longest: int | None) -> Contexts:
        """Return the same without all but the last ``longest`` events of each."""
        if longest is None:
            return self
        return Contexts(self.data, np.maximum(self.starts, self.stops - longest), self.stops)


def contexts(data: Interactions, places: NDArray[np.int64]) -> Contexts:
    """Return what stands before each place, the user's own."""
    return Contexts(data, data.offsets[user_of(data, places)], places)


def training_counts(data: Interactions, parts: Parts) -> NDArray[np.int64]:
    """Return how many training events each item has, ``(items,)``."""
    rows = training_rows(data, parts)
    return np.bincount(data.items[rows], minlength=len(data.catalogue))


def training_rows(data: Interactions, parts: Parts) -> NDArray[np.bool_]:
    """Return a mask of the events that training may see, ``(events,)``."""
    lengths = data.offsets[1:] - data.offsets[:-1]
    ends = np.repeat(parts.train_end, lengths)
    return np.arange(len(data.items)) < ends


def training_histories(data: Interactions, parts: Parts) -> Sequence[NDArray[np.int64]]:
    """Return each user's training items in order."""
    return [data.items[a:b] for a, b in zip(data.offsets[:-1], parts.train_end, strict=True)]
