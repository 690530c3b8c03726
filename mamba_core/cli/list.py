"""``mamba-core list``: what is installed, from records alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single
from mamba_core.cli.output import print_json, print_table

if TYPE_CHECKING:
    from mamba_registry.catalog import Offer


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    domain: Annotated[str | None, typer.Option(help="Only tasks of this domain.")] = None,
    mixers: Annotated[bool, typer.Option("--mixers", help="List mixers instead.")] = False,
    scan_orders: Annotated[
        bool, typer.Option("--scan-orders", help="List scan orders instead.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Inputs and outputs too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the installed tasks, mixers or scan orders."""
    if mixers and scan_orders:
        raise CommandError("--mixers and --scan-orders: give one of them.")
    if mixers:
        rows = _mixers()
    elif scan_orders:
        rows = _scan_orders()
    else:
        rows = _tasks(domain, verbose or json)
    if json:
        print_json(rows)
    elif rows:
        print_table(tuple(rows[0]), [[_text(value) for value in row.values()] for row in rows])
    else:
        print(_nothing(domain))


def _tasks(domain: str | None, verbose: bool) -> list[dict[str, object]]:
    by_id: dict[str, list[Offer]] = {}
    for offer in _offers("tasks"):
        if domain in (None, offer.spec.domain):
            by_id.setdefault(offer.spec.full_id, []).append(offer)
    return [_task(found, verbose) for _, found in sorted(by_id.items())]


def _task(found: list[Offer], verbose: bool) -> dict[str, object]:
    from mamba_registry.lookup import conflict_of

    spec = found[-1].spec
    status = "deprecated" if spec.deprecated else "ok"
    row: dict[str, object] = {
        "id": spec.full_id,
        "domain": spec.domain,
        "summary": spec.summary,
        "presets": list(spec.presets),
        "plugin": ", ".join(offer.plugin.name for offer in found),
        "status": "conflict" if conflict_of(found) else status,
    }
    if verbose:
        row["inputs"] = dict(spec.inputs)
        row["outputs"] = dict(spec.outputs)
    return row


def _offers(kind: str) -> tuple[Offer, ...]:
    import mamba_core.registry  # noqa: F401  (brings the core's own records)
    from mamba_registry import catalog

    return catalog.offers(kind)


def _mixers() -> list[dict[str, object]]:
    return [
        {
            "name": spec.name,
            "summary": spec.summary,
            "causal": spec.causal,
            "streams": spec.streams,
            "packed": spec.packed,
        }
        for spec in (offer.spec for offer in _offers("mixers"))
    ]


def _scan_orders() -> list[dict[str, object]]:
    return [
        {
            "name": spec.name,
            "dims": spec.dims,
            "summary": spec.summary,
            "causal": spec.causal,
            "continuity": spec.continuity,
        }
        for spec in (offer.spec for offer in _offers("scan_orders"))
    ]


def _text(value: object) -> str:
    if value is None:
        return "any"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{name}: {text}" for name, text in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _nothing(domain: str | None) -> str:
    from mamba_core import registry
    from mamba_registry.suggest import suggest

    if domain is not None:
        domains = sorted({offer.spec.domain for offer in _offers("tasks")})
        known = ", ".join(domains) or "none"
        return f"No task of domain '{domain}'.{suggest(domain, domains)} Installed: {known}."
    broken = [plugin for plugin in registry.plugins() if plugin.status != "ok"]
    if broken:
        names = ", ".join(plugin.name for plugin in broken)
        return f"No task: of the installed plugins, none loads ({names}). See `mamba-core plugins`."
    return (
        "No task is installed. Each domain is a plugin, for instance:\n"
        f"  {sys.executable} -m pip install mamba-audio"
    )
