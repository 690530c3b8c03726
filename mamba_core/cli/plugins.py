"""``mamba-core plugins``: every plugin found, loaded or not, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from mamba_core.cli.extra import plugin_commands, single
from mamba_core.cli.output import print_json, print_table


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the installed plugins, broken ones included."""
    from mamba_core import registry

    found = registry.plugins()
    if json:
        print_json(found)
        return
    if not found:
        print("No plugin is installed (entry points of the group mamba_core.plugins).")
        return
    columns = ("name", "distribution", "version", "api", "status", "ms", "tasks")
    rows = [
        (
            plugin.name,
            plugin.distribution or "-",
            plugin.version or "-",
            plugin.api or "-",
            plugin.status,
            f"{1000 * plugin.seconds:.0f}",
            ", ".join(plugin.tasks) or "-",
        )
        for plugin in found
    ]
    print_table(columns, rows)
    for plugin in found:
        if plugin.error:
            print(f"\n{plugin.name}: {plugin.error}")
    commands = plugin_commands()
    if commands:
        print("\nCommands of plugins:")
        print_table(("command", "help"), [(item.name, item.help) for item in commands.values()])
