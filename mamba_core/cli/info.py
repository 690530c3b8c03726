"""``mamba-core info TASK``: everything a task says about itself."""

from __future__ import annotations

import dataclasses
import importlib.util
import json as json_text
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mamba_core.cli.errors import explain
from mamba_core.cli.extra import single
from mamba_core.cli.flags import ROLES, Role, model_role, spec_roles
from mamba_core.cli.output import count_text, print_json, print_table

if TYPE_CHECKING:
    from mamba_registry.specs import TaskSpec


def app(arguments: Sequence[str]) -> typer.Typer:
    """Return the command."""
    return single(run)


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task id, for instance audio-sep.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one task: card, inputs and outputs, fields of its configs, presets."""
    from mamba_core import registry

    spec = registry.spec(task)
    missing = missing_requirements(spec)
    facts: dict[str, Any] = {
        "id": spec.full_id,
        "summary": spec.summary,
        "domain": spec.domain,
        "deprecated": spec.deprecated,
        "inputs": dict(spec.inputs),
        "outputs": dict(spec.outputs),
        "metrics": list(spec.metric_names),
        "scan_orders": list(spec.scan_orders),
        "missing": missing,
        "presets": presets(spec),
        "default_preset": spec.default_preset,
        "weights": [_weights(item) for item in spec.weights],
        "fields": {},
        "card": None,
        "problems": [],
    }
    for name in ROLES:
        with _noting(facts["problems"]):
            roles = [model_role(spec, [])] if name == "model" else spec_roles(spec, [name])
            facts["fields"] |= {r.name: [_field(r, item) for item in r.fields] for r in roles}
    with _noting(facts["problems"]):
        facts["card"] = card_text(spec)
    if json:
        print_json(facts)
    else:
        _print(facts)
    if facts["problems"]:
        raise typer.Exit(1)


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Keep what goes wrong as text: what can be shown of a broken task is shown."""
    try:
        yield
    except (Exception, SystemExit) as error:
        text = explain(error).split("\n")[0]
        if text not in problems:
            problems.append(text)


def missing_requirements(spec: TaskSpec) -> dict[str, str]:
    """Return the modules a task needs that are not installed, and what for."""
    needs = [(name, "building") for name in spec.requires]
    needs += [(name, "its data") for name in spec.requires_data]
    return {name: use for name, use in needs if importlib.util.find_spec(name) is None}


def presets(spec: TaskSpec) -> dict[str, int | str]:
    """Return each preset's number of parameters, counted on the meta device.

    A preset that cannot be built has the reason instead: ``info`` shows the rest.
    """
    import torch

    from mamba_core import registry

    counts: dict[str, int | str] = {}
    for name in spec.presets:
        try:
            with torch.device("meta"):
                model = registry.build(spec.full_id, preset=name)
        except (Exception, SystemExit) as error:
            counts[name] = explain(error).split("\n")[0]
        else:
            counts[name] = sum(parameter.numel() for parameter in model.parameters())
    return counts


def card_text(spec: TaskSpec) -> str | None:
    """Return the task's card (Markdown), or None where it has none."""
    from importlib.resources import files

    if spec.card is None:
        return None
    package, _, path = spec.card.partition(":")
    return files(package).joinpath(path).read_text(encoding="utf-8")


def _weights(item: Any) -> dict[str, Any]:
    shown = ("name", "preset", "url", "size", "licence", "metrics")
    return {field: getattr(item, field) for field in shown}


def _field(role: Role, item: Any) -> dict[str, Any]:
    row = dataclasses.asdict(item)
    row.pop("json_types")
    row.pop("path")
    required = item.default is ...
    return {"flag": role.flag(item), **row, "default": None if required else item.default} | {
        "required": required
    }


def _print(facts: Mapping[str, Any]) -> None:
    print(f"{facts['id']} ({facts['domain']}): {facts['summary']}")
    if facts["deprecated"]:
        print(f"Deprecated: {facts['deprecated']}")
    for name, use in facts["missing"].items():
        print(f"Missing for {use}: {name}")
    for title in ("inputs", "outputs"):
        print(f"\n{title.capitalize()}")
        print_table(("name", "type"), list(facts[title].items()))
    print(f"\nMetrics: {', '.join(facts['metrics']) or 'none'} (the first is the score)")
    if facts["scan_orders"]:
        print(f"Scan orders: {', '.join(facts['scan_orders'])}")
    print("\nPresets")
    print_table(("preset", "parameters"), [_preset(facts, name) for name in facts["presets"]])
    if facts["weights"]:
        print("\nWeights")
        columns = ("name", "preset", "where", "licence", "metrics")
        print_table(columns, [_weights_row(item) for item in facts["weights"]])
    for role, items in facts["fields"].items():
        print(f"\nFields of {role}")
        print_table(("flag", "type", "default", "meaning"), [_field_row(item) for item in items])
    if facts["card"]:
        print(f"\n{facts['card']}")
    for problem in facts["problems"]:
        print(f"\nPROBLEM: {problem}")


def _preset(facts: Mapping[str, Any], name: str) -> tuple[str, str]:
    count = facts["presets"][name]
    mark = " (default)" if name == facts["default_preset"] else ""
    return name + mark, count_text(count) if isinstance(count, int) else count


def _weights_row(item: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    size = "" if item["size"] is None else f", {item['size'] / 1e6:.1f} MB"
    where = ("comes along" if item["url"] is None else "fetched once") + size
    metrics = ", ".join(f"{name} {value:g}" for name, value in item["metrics"].items())
    return item["name"], item["preset"], where, item["licence"], metrics or "not measured here"


def _field_row(item: Mapping[str, Any]) -> tuple[str, str, str, str]:
    default = "required" if item["required"] else json_text.dumps(item["default"])
    return item["flag"], item["type"], default, item["help"]
