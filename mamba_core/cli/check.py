"""``mamba-core check TASK``: the conformance kit without pytest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single
from mamba_core.cli.output import print_json


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    target: Annotated[str, typer.Argument(help="A task id, or a plugin's name for all its tasks.")],
    preset: Annotated[str, typer.Option(help="The preset that is run.")] = "tiny",
    device: Annotated[str, typer.Option(help="Where the model runs.")] = "cpu",
    slow: Annotated[bool, typer.Option("--slow", help="The slow checks too.")] = False,
    write_golden: Annotated[
        Path | None,
        typer.Option(help="Write the reference outputs to this file instead of checking."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that a task keeps what every task promises; leaves with 1 if it does not."""
    from mamba_core.device import choose_device
    from mamba_core.testing import check_task, write_golden_output

    choose_device(device)
    if write_golden is not None:
        print(f"Wrote {write_golden_output(target, write_golden, preset=preset)}")
        return
    reports = [check_task(task, preset=preset, device=device, slow=slow) for task in _tasks(target)]
    if json:
        print_json([report.as_dict() for report in reports])
    else:
        print("\n\n".join(map(str, reports)))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _tasks(target: str) -> tuple[str, ...]:
    """Return the tasks of the plugin of that name, else the name as a task id."""
    from mamba_core import registry

    for plugin in registry.plugins():
        if target in (plugin.name, plugin.distribution):
            if plugin.error:
                raise CommandError(f"plugin '{plugin.name}' did not load: {plugin.error}")
            if not plugin.tasks:
                raise CommandError(f"plugin '{plugin.name}' offers no task.")
            return tuple(plugin.tasks)
    return (target,)
