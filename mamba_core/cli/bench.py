"""``mamba-core bench NAME``: the benchmarks of ``mamba_core.bench``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single
from mamba_core.cli.output import print_json, print_table

BENCHMARKS = {"scan": "mamba_core.bench.scan"}
"""Name -> module with ``run() -> list of rows``, each a dict with the same keys."""


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHMARKS)}.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure speed on this machine, against other implementations in the same run."""
    from mamba_registry import suggest

    if name not in BENCHMARKS:
        raise CommandError(
            f"No benchmark named '{name}'.{suggest(name, BENCHMARKS)} "
            f"Available: {', '.join(BENCHMARKS)}."
        )
    rows = importlib.import_module(BENCHMARKS[name]).run()
    if json:
        print_json(rows)
    elif rows:
        print_table(tuple(rows[0]), [[_text(value) for value in row.values()] for row in rows])


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
