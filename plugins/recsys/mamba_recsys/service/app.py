"""The HTTP service: events in, recommendations out. Needs the extra ``serve``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from mamba_recsys.interactions import InteractionError
from mamba_recsys.service.numbers import Numbers
from mamba_recsys.state.store import Event, StoreError
from mamba_recsys.state.user_state import StateError
from mamba_recsys.state.users import UserStates

Id = StrictInt | StrictStr


class EventIn(BaseModel):
    """One event of a request."""

    model_config = ConfigDict(extra="forbid")
    event_id: Annotated[str, Field(min_length=1, max_length=200)]
    """Chosen by whoever sends it; sent again under the same id, it counts once."""
    user_id: Id
    item_id: Id
    timestamp: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Seconds; None is now."""


class EventsIn(BaseModel):
    """A request of events; all are kept, or none."""

    model_config = ConfigDict(extra="forbid")
    events: Annotated[list[EventIn], Field(min_length=1, max_length=10_000)]


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


class RecommendationsOut(BaseModel):
    """What a user may like."""

    user_id: Id
    filter_seen: bool
    items: list[Recommended]


def create_app(users: UserStates, *, task: str = "rec-next") -> FastAPI:
    """Return the service around users' states; the store is closed when it ends."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        yield
        users.store.close()

    app = FastAPI(title=f"mamba-core {task}", lifespan=life)
    numbers = Numbers()
    _answer_errors(app, numbers)

    # plain functions: the framework runs them on threads, so that health answers meanwhile
    @app.post("/events")
    def post_events(body: EventsIn) -> EventsOut:
        now = time.time()
        events = [
            Event(e.event_id, e.user_id, e.item_id, now if e.timestamp is None else e.timestamp)
            for e in body.events
        ]
        with numbers.timed("events"):
            done = users.apply(events)
        numbers.add("events_accepted", done.accepted)
        numbers.add("events_duplicate", done.duplicates)
        return EventsOut(accepted=done.accepted, duplicates=done.duplicates, late=done.late)

    @app.get("/users/{user_id}/recommendations")
    def get_recommendations(
        user_id: str, k: Annotated[int, Query(ge=1)] = 10, filter_seen: bool = True
    ) -> RecommendationsOut:
        user = users.user_id(user_id)
        with numbers.timed("recommendations"):
            best = users.recommend(user, k, filter_seen=filter_seen)
        items = [
            Recommended(item_id=item, score=score, rank=rank)
            for rank, (item, score) in enumerate(best, start=1)
        ]
        return RecommendationsOut(user_id=user, filter_seen=filter_seen, items=items)

    @app.get("/health")
    def health() -> dict[str, Any]:
        known, events = users.store.counts()
        fitted = users.recommender.fitted
        return {
            "status": "ok",
            "task": task,
            "model": fitted.key,
            "items": len(fitted.catalogue),
            "users": known,
            "events": events,
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> str:
        return numbers.text()

    return app


_STATUS: dict[type[Exception], int] = {
    StoreError: 503,
    InteractionError: 422,
    StateError: 422,
    ValueError: 422,
}


def _answer_errors(app: FastAPI, numbers: Numbers) -> None:
    """Named errors become answers with a status of their own."""

    def answer(status: int) -> Callable[[Request, Exception], JSONResponse]:
        def with_status(request: Request, error: Exception) -> JSONResponse:
            numbers.add("errors", 1)
            kind = type(error).__name__
            return JSONResponse({"error": kind, "detail": str(error)}, status_code=status)

        return with_status

    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, answer(status))
