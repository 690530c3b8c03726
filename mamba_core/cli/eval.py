"""``mamba-core eval TARGET``: the same as ``mamba_core.evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mamba_core.cli.flags import role_app
from mamba_core.cli.output import print_json, print_table, terminal_progress


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command with the task's own flags."""
    return role_app(run, arguments, ("data",), {"--json"})


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A saved model's folder, or a task id for its default weights."
        ),
    ],
    fields: dict[str, dict[str, Any]],
    split: Annotated[str, typer.Option(help="Part of the data: train, val, test.")] = "test",
    weights: Annotated[str, typer.Option(help="Which of the task's weights.")] = "default",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Items at once.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a trained model; `mamba-core eval TARGET --help` shows the data's flags."""
    import mamba_core

    with terminal_progress() as progress:
        result = mamba_core.evaluate(
            target,
            split=split,
            data=fields.get("data", {}),
            weights=weights,
            device=device,
            batch_size=batch_size,
            progress=progress,
        )
    if json:
        print_json(result)
    else:
        rows = [(name, f"{value:.6g}") for name, value in result.metrics.items()]
        print_table(("metric", "value"), rows)
