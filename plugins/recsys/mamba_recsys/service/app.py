"""The HTTP service: events in, recommendations out. Needs the extra ``serve``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from mamba_recsys.service.numbers import Numbers
from mamba_recsys.service.refusals import BodyLimit, answer_errors
from mamba_recsys.state.store import Event, UserId
from mamba_recsys.state.users import UserStates

Id = StrictInt | StrictStr


_BODY = ConfigDict(extra="forbid")
EventId = Annotated[str, Field(min_length=1, max_length=200)]
"""Chosen by whoever sends an event; sent again under the same id, it counts once."""
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Features = dict[str, bool | int | float | str | list[float] | None]
"""Columns of an event that the model reads, by name."""


class UserEvent(BaseModel):
    """One event of a user."""

    model_config = _BODY
    event_id: EventId
    user_id: Id
    item_id: Id
    timestamp: Seconds | None = None
    """None is now."""
    features: Features = Field(default_factory=dict)


class SessionEvent(BaseModel):
    """One event of a session."""

    model_config = _BODY
    event_id: EventId
    session_id: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    item_id: Id
    timestamp: Seconds | None = None
    """None is now."""
    features: Features = Field(default_factory=dict)


class UserEvents(BaseModel):
    """A request of events; all are kept, or none."""

    model_config = _BODY
    events: Annotated[list[UserEvent], Field(min_length=1, max_length=10_000)]


class SessionEvents(BaseModel):
    """A request of events; all are kept, or none."""

    model_config = _BODY
    events: Annotated[list[SessionEvent], Field(min_length=1, max_length=10_000)]


class EventsOut(BaseModel):
    """What became of them; they are on the disk when this is sent."""

    accepted: int
    duplicates: int
    late: int


class Recommended(BaseModel):
    """One item."""

    item_id: Id
    score: float
    rank: int


class UserItems(BaseModel):
    """What a user may like."""

    user_id: Id
    filter_seen: bool
    items: list[Recommended]


class SessionItems(BaseModel):
    """What may come next in a session."""

    session_id: str
    filter_seen: bool
    items: list[Recommended]


def create_app(users: UserStates, *, max_body: int = 16 * 2**20) -> FastAPI:
    """Return the service around the states of users or sessions.

    The store is closed when it ends.

    :param max_body: bytes of a request's body; longer ones are refused (413).
    """
    task = users.recommender.task

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        users.store.close()

    app = FastAPI(title=f"mamba-core {task}", lifespan=life)
    numbers = Numbers()
    answer_errors(app, numbers)
    app.add_middleware(BodyLimit, most=max_body)
    if task == "rec-session":
        _session_routes(app, _Calls(users, numbers))
    else:
        _user_routes(app, _Calls(users, numbers))

    @app.get("/health")
    def health() -> dict[str, Any]:
        known, events = users.store.counts()
        fitted = users.recommender.fitted
        return {
            "status": "ok",
            "task": task,
            "model": fitted.key,
            "items": len(fitted.catalogue),
            "sessions" if task == "rec-session" else "users": known,
            "events": events,
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        return numbers.text()

    return app


# routes are plain functions: the framework runs them on threads, so that health answers meanwhile


def _user_routes(app: FastAPI, calls: _Calls) -> None:
    @app.post("/events")
    def post_events(body: UserEvents) -> EventsOut:
        now = time.time()
        return calls.take([_event(e, e.user_id, now) for e in body.events])

    @app.get("/users/{user_id}/recommendations")
    def get_recommendations(
        user_id: str, k: Annotated[int, Query(ge=1)] = 10, filter_seen: bool = True
    ) -> UserItems:
        user = calls.users.user_id(user_id)
        items = calls.best(user, k, filter_seen)
        return UserItems(user_id=user, filter_seen=filter_seen, items=items)


def _session_routes(app: FastAPI, calls: _Calls) -> None:
    @app.post("/events")
    def post_events(body: SessionEvents) -> EventsOut:
        now = time.time()
        return calls.take([_event(e, e.session_id, now) for e in body.events])

    @app.get("/sessions/{session_id}/recommendations")
    def get_recommendations(
        session_id: str, k: Annotated[int, Query(ge=1)] = 20, filter_seen: bool = False
    ) -> SessionItems:
        items = calls.best(session_id, k, filter_seen)
        return SessionItems(session_id=session_id, filter_seen=filter_seen, items=items)


def _event(body: UserEvent | SessionEvent, user: UserId, now: float) -> Event:
    at = now if body.timestamp is None else body.timestamp
    return Event(body.event_id, user, body.item_id, at, body.features)


class _Calls:
    """What both services do, timed and counted."""

    def __init__(self, users: UserStates, numbers: Numbers) -> None:
        self.users, self.numbers = users, numbers

    def take(self, events: Sequence[Event]) -> EventsOut:
        """Keep events."""
        with self.numbers.timed("events"):
            done = self.users.apply(events)
        self.numbers.add("events_accepted", done.accepted)
        self.numbers.add("events_duplicate", done.duplicates)
        return EventsOut(accepted=done.accepted, duplicates=done.duplicates, late=done.late)

    def best(self, user: UserId, k: int, filter_seen: bool) -> list[Recommended]:
        """Return the best items of a user or session."""
        with self.numbers.timed("recommendations"):
            found = self.users.recommend(user, k, filter_seen=filter_seen)
        pairs = enumerate(found, start=1)
        return [Recommended(item_id=item, score=score, rank=r) for r, (item, score) in pairs]
