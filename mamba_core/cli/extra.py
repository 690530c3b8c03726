"""Commands that plugins bring (the hook ``mamba_commands``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import typer

from mamba_core.cli.builtin import COMMANDS


@dataclass(frozen=True)
class PluginCommand:
    """One command of one plugin; its code is imported when it is called."""

    name: str
    help: str
    run: str | Callable[..., object]

    def app(self) -> typer.Typer:
        """Import the command: a ``typer.Typer``, or a function that typer can read."""
        from mamba_core import registry

        target = registry.resolve(self.run)
        return target if isinstance(target, typer.Typer) else single(target, help=self.help)


def single(command: Callable[..., object], *, help: str | None = None) -> typer.Typer:
    """Return an app with one command; ``help`` replaces its docstring."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=help)(command)
    return app


def plugin_commands() -> dict[str, PluginCommand]:
    """Return what the loadable plugins offer, by name; built-in names cannot be taken."""
    import mamba_core.registry  # noqa: F401  (brings the core's own records)
    from mamba_registry import catalog

    specs = [offer.spec for offer in catalog.offers("commands")]
    return {
        spec.name: PluginCommand(spec.name, spec.help, spec.run)
        for spec in specs
        if spec.name not in COMMANDS
    }
