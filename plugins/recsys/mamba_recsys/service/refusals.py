"""What the service answers to requests that it does not take."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mamba_recsys.interactions import InteractionError
from mamba_recsys.service.numbers import Numbers
from mamba_recsys.state.store import StoreError
from mamba_recsys.state.user_state import StateError

_STATUS: dict[type[Exception], int] = {
    StoreError: 503,
    InteractionError: 422,
    StateError: 422,
    ValueError: 422,
    RequestValidationError: 422,
}


def answer_errors(app: FastAPI, numbers: Numbers) -> None:
    """Make errors answers with a status of their own: ``{"error": ..., "detail": ...}``.

    :param numbers: count them, but for pages that do not exist and the like.
    """

    def answer(status: int) -> Callable[[Request, Exception], JSONResponse]:
        def with_status(request: Request, error: Exception) -> JSONResponse:
            numbers.add("errors", 1)
            kind, detail = type(error).__name__, str(error)
            if isinstance(error, RequestValidationError):
                kind, detail = "RequestError", _what_is_wrong(error)
            return JSONResponse({"error": kind, "detail": detail}, status_code=status)

        return with_status

    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, answer(status))
    app.add_exception_handler(HTTPException, _by_status)


def _by_status(request: Request, error: Exception) -> JSONResponse:
    """Those of the framework have no name but that of their status."""
    assert isinstance(error, HTTPException)
    told = {"error": HTTPStatus(error.status_code).phrase, "detail": error.detail}
    return JSONResponse(told, status_code=error.status_code, headers=error.headers)


def _what_is_wrong(error: RequestValidationError) -> str:
    """Where and what; not the value, which may be very long, or no JSON."""
    first, *others = error.errors()
    where = ".".join(map(str, first["loc"]))
    more = f" (and {len(others)} more)" if others else ""
    why = first.get("ctx", {}).get("error", "")
    return f"{where}: {first['msg']}{f', {why}' if why else ''}{more}"


class BodyLimit:
    """Refuses bodies that are too long before they are held in memory (status 413).

    :param app: what takes the others.
    :param most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message: Any = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most:
                raise HTTPException(
                    413, f"a request takes up to {self.most} bytes: send fewer events at once"
                )
            return message

        await self.app(scope, counted, send)
