"""``mamba-core bench NAME``: the same as ``mamba_core.bench.run``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single
from mamba_core.cli.flags import Role, find_target, with_role_flags
from mamba_core.cli.output import print_json, print_table, terminal_progress

if TYPE_CHECKING:
    from mamba_core.bench import Report, Row

_COLUMNS = ("case", "size", "contender", "ms", "quartiles", "cpu ms", "ratio", "error", "")


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command with the benchmark's own flags."""
    name = find_target(arguments, {"--json"})
    if name is None:
        return single(with_role_flags(run, []))
    return single(with_role_flags(run, [_role(name)]))


def _role(name: str) -> Role:
    from mamba_core import bench
    from mamba_core.cli.fields import config_fields

    try:
        return Role(name, config_fields(bench.find(name).Config))
    except ValueError as error:
        raise CommandError(str(error)) from None


def run(
    fields: dict[str, dict[str, Any]],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="kernels, scan, ssd, orders, layers, startup; none: all."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed calls per contender.")] = 7,
    seconds: Annotated[
        float, typer.Option(min=0.001, help="Timing per case, after at least 3 rounds.")
    ] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, or cuda; not of startup.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Compare with this one only; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write everything to this JSON file.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw to this file (.png, .svg); needs matplotlib.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure speed on this machine, against other implementations in the same run.

    Results are compared with float64 first: a wrong one is not timed.
    `mamba-core bench NAME --help` shows the sizes.
    """
    from mamba_core import bench

    if name is None and (out or plot):
        raise CommandError("--out and --plot are for one benchmark: give its name too.")
    settings = bench.Settings(rounds=rounds, seconds=seconds, threads=threads)
    reports = []
    with terminal_progress() as progress:
        for one in (name,) if name else bench.BENCHMARKS:
            try:
                sizes = fields.get(one, {})
                report = bench.run(
                    one,
                    settings,
                    against=against or None,
                    device=device,
                    progress=progress,
                    **sizes,
                )
            except ValueError as error:
                raise CommandError(str(error)) from None
            reports.append(report)
            if not json:
                _print(report)
    if json:
        found = [report.as_dict() for report in reports]
        print_json(found[0] if name else found)
    for report in reports:
        _keep(report, out, plot)
    if any(row.status in ("wrong", "failed") for report in reports for row in report.rows):
        raise typer.Exit(1)


def _keep(report: Report, out: Path | None, plot: Path | None) -> None:
    if out is not None:
        report.write(out)
    if plot is not None:
        try:
            report.plot(plot)
        except ImportError as error:
            install = f"{sys.executable} -m pip install matplotlib"
            raise CommandError(f"--plot: {error}. {install}") from None


def _print(report: Report) -> None:
    print(f"{report.benchmark}: " + ", ".join(f"{k} {v}" for k, v in report.machine.items()))
    print_table(_COLUMNS, [_cells(row) for row in report.rows if row.status != "skipped"])
    skipped = {(row.contender, row.note) for row in report.rows if row.status == "skipped"}
    for contender, reason in sorted(skipped):
        print(f"not run: {contender}: {reason}")
    for growth in report.growth:
        print(
            f"{growth.case}: {growth.contender} grows as L^{growth.exponent:.2f} (processor time "
            f"L^{growth.cpu_exponent:.2f}) from L={growth.lengths[0]} to {growth.lengths[-1]}"
        )
    for fact, value in report.facts.items():
        print(f"{fact} {value:.3g}")
    print()


def _cells(row: Row) -> list[str]:
    from mamba_core.bench.measure import size_text

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    def ms(value: float | None) -> str:
        return number(value, ".4g" if value is None or value < 1000 else ".0f")

    spread = "" if row.ms is None else f"{ms(row.ms_q1)} .. {ms(row.ms_q3)}"
    return [
        row.case,
        size_text(row.size),
        row.contender,
        ms(row.ms),
        spread,
        ms(row.cpu_ms),
        number(row.ratio, ".3g"),
        number(row.error, ".1e"),
        "" if row.status == "ok" else f"{row.status}: {row.note}",
    ]
