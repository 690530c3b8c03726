"""Running the service: what ``mamba-core serve`` does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from mamba_core.cli.output import terminal_progress
from mamba_core.registry import DependencyMissingError
from mamba_recsys.kinds import recommender_of
from mamba_recsys.state.store import SQLiteStore
from mamba_recsys.state.users import UserStates


def serve(task: str, folder: Path, store: Path, *, take_over: bool, host: str, port: int) -> None:
    """Serve until told to stop; requests that were begun are answered first.

    :raises ConfigError: for a task that cannot be served.
    :raises WeightsError: for a folder that holds no recommender of the task.
    :raises DependencyMissingError: without the extra ``serve``.
    """
    kind = recommender_of(task)
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise DependencyMissingError(f"serving needs {name}: pip install 'mamba-recsys[serve]'")
    import uvicorn

    from mamba_recsys.service.app import create_app

    torch.set_num_threads(1)  # one event is too little work to share
    users = UserStates(kind.load(folder), SQLiteStore(store))
    if take_over:
        with terminal_progress() as progress:
            taken = users.take_over(progress)
        print(f"{taken} events of the fitted users went into {store}", flush=True)
    uvicorn.run(create_app(users), host=host, port=port, log_level="warning")
