"""``mamba-core doctor``: what is wrong here, and the line that puts each right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Annotated

import typer

from mamba_core.cli.doctor.finding import Finding
from mamba_core.cli.extra import single
from mamba_core.cli.output import print_json

_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one plugin may take to import.")
    ] = 20.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for problems on this machine; leaves with 1 if there are any."""
    findings = examine(timeout)
    if json:
        print_json(findings)
    else:
        _print(findings)
    if any(finding.status == "problem" for finding in findings):
        raise typer.Exit(1)


def examine(timeout: float) -> list[Finding]:
    """Look at everything, in the order of the report.

    :param timeout: seconds one plugin may take to import.
    """
    from mamba_core.cli.doctor import kernels, libraries, machine, plugins

    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        machine.python,
        machine.torch,
        machine.devices,
        machine.variables,
        machine.cache,
        machine.shadows,
        partial(plugins.imports, timeout),  # before the next: it blocks plugins that hang
        plugins.loaded,
        plugins.conflicts,
        libraries.domain_libraries,
        kernels.backends,
        kernels.self_test,
        plugins.own_checks,
    )
    return [finding for look in looks for finding in _safely(look)]


def _safely(look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """A doctor that faints at the first wound helps nobody: report it and look on."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:
        text = f"looking further failed: {type(error).__name__}: {error}"
        fix = "upgrade mamba-core, and report this if it stays"
        found.append(Finding(found[-1].area if found else "Doctor", "problem", text, fix))
    return found


def _print(findings: Sequence[Finding]) -> None:
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            print(f"\n{area}")
        print(f"  {_MARKS[finding.status]:8} {finding.text}")
        if finding.fix:
            print(f"  {'':8} fix: {finding.fix}")
    problems = sum(finding.status == "problem" for finding in findings)
    print(f"\n{problems} problem{'' if problems == 1 else 's'} found.")
