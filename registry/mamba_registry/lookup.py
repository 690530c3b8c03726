"""From a name to its record, or to one message that says everything known about why not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from mamba_registry import catalog
from mamba_registry.catalog import Offer
from mamba_registry.errors import (
    MixerError,
    ScanOrderError,
    TaskConflictError,
    TaskNotFoundError,
    TaskSpecError,
)
from mamba_registry.ids import TaskId, parse_id
from mamba_registry.known import KNOWN_TASKS, provider
from mamba_registry.policy import normal
from mamba_registry.specs import MixerSpec, PluginInfo, ScanOrderSpec, TaskSpec
from mamba_registry.suggest import closest, suggest


def install_line(distribution: str) -> str:
    """Return the pip line for the interpreter that is running."""
    return f"{sys.executable} -m pip install {distribution}"


def find_task(text: str) -> Offer:
    """Return the task an id or alias names; without a version the newest not deprecated.

    :raises TaskNotFoundError: with a suggestion, the install line and the failed plugins.
    :raises TaskConflictError: when two plugins offer it, or one offers another's name.
    :raises TaskSpecError: for a text that is no id.
    """
    wanted = _parse(text)
    every = catalog.offers("tasks")
    named = [offer for offer in every if offer.spec.id == wanted.bare]
    if not named:  # an alias never stands before an id
        named = [offer for offer in every if wanted.bare in offer.spec.aliases]
    if not named:
        raise TaskNotFoundError(_no_task(wanted))
    ids = sorted({offer.spec.id for offer in named})
    if len(ids) > 1:
        raise TaskConflictError(
            f"'{wanted.bare}' is an old name of {' and of '.join(ids)}: use one"
        )
    versions = sorted({offer.spec.version for offer in named})
    version = wanted.version or _newest(named)
    found = [offer for offer in named if offer.spec.version == version]
    if not found:
        have = ", ".join(f"{wanted.bare}@{v}" for v in versions)
        raise TaskNotFoundError(
            f"Task '{wanted.bare}' has no version {version}; installed: {have}."
        )
    conflict = conflict_of(found, wanted.bare)
    if conflict:
        raise TaskConflictError(conflict)
    return found[-1]


def _parse(text: str) -> TaskId:
    try:
        return parse_id(text)
    except TaskSpecError as error:
        ids = {offer.spec.id for offer in catalog.offers("tasks")}
        hint = suggest(str(text).replace("_", "-"), {*ids, *KNOWN_TASKS})
        raise TaskSpecError(f"{error}.{hint}") from None


def _newest(named: list[Offer]) -> int:
    current = [offer.spec.version for offer in named if offer.spec.deprecated is None]
    return max(current or [offer.spec.version for offer in named])


def conflict_of(found: list[Offer], asked: str | None = None) -> str | None:
    """Say why a full id cannot be trusted, or None.

    :param found: every offer of one full id. A run-time registration stands in for a plugin's.
    :param asked: the id or alias it was asked for by; None is its id.
    """
    spec: TaskSpec = found[0].spec
    installed = [offer.plugin for offer in found if offer.plugin is not catalog.SESSION]
    if len(installed) < len(found):
        return None
    if len(installed) > 1:
        names = "; ".join(plugin.origin for plugin in installed)
        return (
            f"Task '{spec.full_id}' is offered by {len(installed)} plugins: {names}.\n"
            f"Block all but one, e.g. MAMBA_PLUGINS_BLOCK={installed[-1].name}."
        )
    name = asked or spec.id
    owner = provider(name)
    own = installed[0].distribution
    if owner and own and normal(own) != owner:
        namespace = normal(own).split("-")[0]
        return (
            f"Task '{name}@{spec.version}' is offered by {installed[0].origin}, but that name "
            f"belongs to {owner}.\nIts author should use '{namespace}/{name}'; until then, "
            f"MAMBA_PLUGINS_BLOCK={installed[0].name} leaves it out."
        )
    return None


def _no_task(wanted: TaskId) -> str:
    """Suggestion, how to install it, and what failed that may have had it, in one message."""
    installed = {offer.spec.id for offer in catalog.offers("tasks")}
    lines = [f"No task named '{wanted.bare}'."]
    known = wanted.bare if wanted.bare in KNOWN_TASKS else None
    if known is None:
        near = closest(wanted.bare, {*installed, *KNOWN_TASKS})
        lines[0] += f" Did you mean '{near}'?" if near else ""
        known = near if near not in installed else None
    if known:
        lines += _provider_line(known)
    lines += _failures(KNOWN_TASKS[known] if known == wanted.bare else None)
    lines.append("See `mamba-core list` and `mamba-core doctor`.")
    return "\n".join(lines)


def _provider_line(task: str) -> Iterable[str]:
    """How to get a known task, unless its plugin is here and failed: then its cause is told."""
    owner = KNOWN_TASKS[task]
    here = [p for p in catalog.plugins() if normal(p.distribution or p.name) == owner]
    if not here:
        yield f"'{task}' comes with {owner}: {install_line(owner)}"
    elif here[0].status == "ok":
        line = install_line(f"--upgrade {owner}")
        yield f"'{task}' is not in {here[0].origin}, perhaps in a newer one: {line}"


def _failures(owner: str | None) -> Iterable[str]:
    """One line per plugin that may have had it: all failed ones, or the known provider's."""
    for plugin in catalog.plugins():
        if plugin.status == "ok":
            continue
        if owner and normal(plugin.distribution or plugin.name) != owner:
            continue
        yield failure_line(plugin)


def failure_line(plugin: PluginInfo) -> str:
    """Say in one line why a plugin is not there."""
    what = {"incompatible": "is incompatible", "blocked": "is blocked"}
    return (
        f"Plugin '{plugin.name}' ({plugin.origin}) {what.get(plugin.status, 'did not load')}: "
        f"{plugin.error}"
    )


def _one(found: list[Offer], what: str, error: type[Exception]) -> Any:
    """The last registration wins over installed ones; two installed ones are an error."""
    session = [offer for offer in found if offer.plugin is catalog.SESSION]
    if session:
        return session[-1].spec
    if len(found) > 1:
        names = "; ".join(offer.plugin.origin for offer in found)
        raise error(
            f"{what} is offered by {len(found)} plugins: {names}.\n"
            f"Block all but one, e.g. MAMBA_PLUGINS_BLOCK={found[-1].plugin.name}."
        )
    return found[0].spec


def find_mixer(name: str) -> MixerSpec:
    """Return a mixer's record.

    :raises MixerError: for a name nobody offers, or two plugins do.
    """
    every = catalog.offers("mixers")
    found = [offer for offer in every if offer.spec.name == name]
    if not found:
        names = sorted({offer.spec.name for offer in every})
        lines = [f"No mixer '{name}'.{suggest(name, names)} Available: {', '.join(names)}."]
        raise MixerError("\n".join([*lines, *_failures(None)]))
    return _one(found, f"Mixer '{name}'", MixerError)


def find_scan_order(name: str, *, dims: int | None = None) -> ScanOrderSpec:
    """Return a scan order's record; one made for ``dims`` comes before one for any shape.

    :raises ScanOrderError: for a name nobody offers, or not for ``dims``.
    """
    every = catalog.offers("scan_orders")
    named = [offer for offer in every if offer.spec.name == name]
    fitting = [o for o in named if dims is None or o.spec.dims in (None, dims)]
    if not fitting:
        raise ScanOrderError(_no_order(name, dims, named, every))
    exact = [offer for offer in fitting if offer.spec.dims is not None]
    sizes = {offer.spec.dims for offer in exact}
    if dims is None and len(sizes) > 1:
        raise ScanOrderError(f"Scan order '{name}' exists for {_dims(exact)}; say which: dims=...")
    return _one(exact or fitting, f"Scan order '{name}'", ScanOrderError)


def _no_order(name: str, dims: int | None, named: list[Offer], every: tuple[Offer, ...]) -> str:
    usable = sorted({o.spec.name for o in every if dims is None or o.spec.dims in (None, dims)})
    what = f"No scan order '{name}'" + (f" for {dims}-d inputs" if dims is not None else "")
    hint = f" It exists for {_dims(named)}." if named else suggest(name, usable)
    return "\n".join([f"{what}.{hint} {_available(usable)}", *_failures(None)])


def _available(orders: list[str]) -> str:
    """The names, or where they are shown when they would hide the rest of the message."""
    if len(orders) <= 12:
        return f"Available: {', '.join(orders) or 'none'}."
    return "`mamba-core scan-order list` shows them all."


def _dims(named: list[Offer]) -> str:
    sizes = sorted({offer.spec.dims for offer in named if offer.spec.dims is not None})
    return " and ".join(f"{size}-d" for size in sizes) + " inputs"
