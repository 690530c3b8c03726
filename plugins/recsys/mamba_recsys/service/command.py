"""``mamba-core serve TASK FOLDER``: a fitted recommender over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="rec-next or rec-session.")],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Made by Recommender.save or `fit`.")
    ],
    store: Annotated[
        Path, typer.Option(help="SQLite file of events and states; made when it is not there.")
    ] = Path("states.db"),
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over", help="Put the fitted users' events into the store first, once."
        ),
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
) -> None:
    """Serve a recommender: POST /events, GET /users/ID/recommendations, /health, /metrics.

    For rec-session it is GET /sessions/ID/recommendations.
    """
    from mamba_recsys.service.server import serve

    serve(task, folder, store, take_over=take_over, host=host, port=port)
