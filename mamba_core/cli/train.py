"""``mamba-core train TASK``: the same as ``mamba_core.train``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mamba_core.cli.flags import role_app
from mamba_core.cli.output import print_json


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command with the task's own flags."""
    return role_app(run, arguments, ("model", "data", "train"), {"--resume", "--json"})


def run(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="A task id; its fields become flags (see below).")
    ],
    fields: dict[str, dict[str, Any]],
    preset: Annotated[
        str | None, typer.Option(help="A preset of the task; see `mamba-core info TASK`.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Results folder; runs/TASK where none is given."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where --out stopped.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train a task; `mamba-core train TASK --help` shows the task's own flags."""
    import mamba_core

    folder = out or Path("runs") / task.replace("/", "-")
    result = mamba_core.train(task, preset=preset, out=folder, resume=resume, **fields)
    if json:
        print_json(result)
    else:
        print(f"Score {result.score:.4g}; results in {result.folder}")
