"""The lazy group of commands: what runs is imported when it is called."""

from __future__ import annotations

import importlib
import os
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from mamba_core.cli.builtin import COMMANDS
from mamba_core.cli.errors import CommandError


class LazyGroup(TyperGroup):
    """Knows every built-in command by name and imports the one that is called.

    Plugin commands are looked up only when a name is not built in.
    """

    debug = False
    """Set by ``--debug``: errors show their traceback."""
    called = ""
    """The command that runs."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        for name, (_, text) in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=text, callback=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple:
        """Replace the stub of the command called by the command itself."""
        self._apply_globals(ctx.params)
        name = self.called = args[0]
        if name in COMMANDS:
            module = importlib.import_module(COMMANDS[name][0])
            return name, _named(module.app(args[1:]), name), args[1:]
        if not name.startswith("-"):
            from mamba_core.cli.extra import plugin_commands

            offered = plugin_commands()
            if name in offered:
                return name, _named(offered[name].app(), name), args[1:]
            # so that "Did you mean" knows them too
            for other, command in offered.items():
                self.commands[other] = TyperCommand(other, help=command.help, callback=None)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a plugin that leaves Python while it is imported is an error."""
        try:
            return super().invoke(ctx)
        except SystemExit as error:
            if self.called not in COMMANDS:
                raise  # a plugin's own command may leave as it likes
            if isinstance(error.__context__, BrokenPipeError):
                raise  # rich leaves so when whoever reads has gone: `mamba-core ... | head`
            raise CommandError(
                f"code of a plugin called sys.exit({error.code!r}) during `{self.called}`; "
                "see `mamba-core doctor`"
            ) from error

    def _apply_globals(self, given: dict[str, Any]) -> None:
        self.debug = bool(given.get("debug"))
        if given.get("no_plugins"):
            # the environment, because doctor and data workers start processes of their own
            os.environ["MAMBA_PLUGINS_AUTOLOAD"] = "0"
            os.environ.pop("MAMBA_PLUGINS_EXTRA", None)


def _named(app: typer.Typer, name: str) -> Any:
    command = get_command(app)
    command.name = name
    return command


def _print_version(wanted: bool) -> None:
    if wanted:
        from mamba_core import __version__

        typer.echo(f"mamba-core {__version__}")
        raise typer.Exit


def _root(
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Load no plugin; only what the core brings.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and leave.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Mamba models for any domain (not the conda tool of that name).

    Plugins may bring further commands: see `mamba-core plugins`.
    """


def make_group() -> LazyGroup:
    """Return the whole command line; nothing but typer is imported."""
    app = typer.Typer(
        cls=LazyGroup, add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True
    )
    app.callback()(_root)
    group = get_command(app)
    assert isinstance(group, LazyGroup)
    return group
