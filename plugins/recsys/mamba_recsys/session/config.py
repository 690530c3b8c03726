"""Typed configs of ``rec-session``: data, training and use; the model is that of ``rec-next``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from mamba_core.config import STRICT
from mamba_recsys.next_item.config import (
    Count,
    FullSoftmax,
    NextItemPredict,
    NextItemTrain,
    Objective,
    Size,
)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SessionData:
    """Sessions in a file, cut by the time they begin."""

    path: Path
    """As for ``rec-next``."""
    session: str = "session_id"
    """Column with the session; with ``gap``, with the visitor."""
    item: str = "item_id"
    """Column with the item."""
    time: str = "timestamp"
    """Column with the time; needed."""
    gap: Annotated[float, Field(gt=0)] | None = None
    """A pause of more seconds begins a new session of the same visitor; None takes ids as they
    are."""
    min_item_events: Size = 5
    """Items with fewer events are left out, before sessions are counted."""
    min_session_events: Annotated[int, Field(ge=2)] = 2
    """Sessions with fewer events are left out."""
    val_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Part of the sessions, by their beginning, to choose a model by."""
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Part of the sessions, the last ones, to report."""
    max_length: Annotated[int, Field(ge=2)] | None = 50
    """Events that are read of a session, the last ones; None reads all."""
    objective: Objective = FullSoftmax()
    """What is minimised."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SessionTrain(NextItemTrain):
    """Training with defaults for short sessions."""

    batch_size: Count = 128
    """Sessions per process and forward pass."""
    max_epochs: Count = 10
    """Passes through the sessions; not used when max_steps is given."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SessionPredict(NextItemPredict):
    """How files of sessions are answered."""

    user: str = "session_id"
    """Column with the session."""
    k: Count = 20
    """Items per session."""
    filter_seen: bool = False
    """Leave out what the session had before: sessions come back to items."""
    min_item_events: Size = 5
    """As in training, to number the same items."""
    max_length: Annotated[int, Field(ge=2)] | None = 50
    """Events that are read of each session, as in training; None reads all."""
