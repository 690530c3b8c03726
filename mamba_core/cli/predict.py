"""``mamba-core predict TARGET FILES``: the same as ``mamba_core.predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mamba_core.cli.flags import role_app
from mamba_core.cli.output import plain, print_json, terminal_progress


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command with the task's own flags."""
    return role_app(run, arguments, ("predict",), {"--overwrite", "--json"})


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A task id for its weights, or a saved model's folder."
        ),
    ],
    inputs: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to read.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    fields: dict[str, dict[str, Any]],
    weights: Annotated[str, typer.Option(help="Which of the task's weights.")] = "default",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps, ...")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run a trained model on files; `mamba-core predict TARGET --help` shows its flags."""
    import mamba_core
    from mamba_core.device import choose_device

    choose_device(device)  # before a model is loaded for nothing
    with terminal_progress() as progress:
        rows = mamba_core.predict(
            target,
            inputs,
            out,
            weights=weights,
            device=device,
            overwrite=overwrite,
            predict=fields.get("predict", {}),
            progress=progress,
        )
    if json:
        print_json(rows)
    else:
        for row in rows:
            print("  ".join(f"{name}: {_short(value)}" for name, value in row.items()))
    failed = sum("error" in row for row in rows)
    if failed:  # files that the others were not stopped by
        typer.echo(f"{failed} of {len(rows)} files could not be used", err=True)
        raise typer.Exit(1)


def _short(value: Any) -> str:
    value = plain(value)
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
