"""What is installed: one immutable snapshot, made at first use, plus run-time registrations."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mamba_registry.errors import MambaRegistryError, TaskSpecError
from mamba_registry.hookspecs import GROUP
from mamba_registry.loading import KINDS, Records, busy, load
from mamba_registry.policy import Policy
from mamba_registry.specs import PluginInfo, record_name

SESSION = PluginInfo(
    name="session", module="(registered at run time)", distribution=None, version=None, status="ok"
)
"""Where run-time registrations come from."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A record, and the plugin it comes from."""

    spec: Any
    plugin: PluginInfo


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that was found, by kind; nothing changes it afterwards."""

    plugins: tuple[PluginInfo, ...] = ()
    offers: dict[str, tuple[Offer, ...]] = field(default_factory=dict)


_builtins: tuple[str, ...] = ()
_snapshot: Snapshot | None = None
_session: dict[tuple[str, str], Offer] = {}
_publish = threading.Lock()
_no_plugins = False
_generation = 0
"""Counts how often the catalogue was forgotten: a search begun before that is out of date."""


def add_builtin(module: str) -> None:
    """Name a module whose records are always there, whatever the environment says."""
    global _builtins
    if module not in _builtins:
        _builtins = (*_builtins, module)
        _forget()


def refresh() -> None:
    """Forget what was found, so that the next use looks again (after ``pip install``).

    Modules that were imported stay as they are: a plugin that was upgraded needs a new process.
    """
    import importlib

    _refuse_while_importing()
    importlib.invalidate_caches()  # or a package installed a moment ago is not seen
    _forget()


def _forget() -> None:
    global _snapshot, _generation
    with _publish:
        _generation += 1
        _snapshot = None


def _refuse_while_importing() -> None:
    importing = busy()
    if importing is not None:
        raise MambaRegistryError(
            f"the registry was used while the plugin '{importing}' was being imported; "
            "move that call into a function, and return records from the plugin's hooks"
        )


def disable_plugins() -> None:
    """Load the built-in records only, from now on (``mamba-core --no-plugins``)."""
    global _no_plugins
    _no_plugins = True
    _forget()


def snapshot() -> Snapshot:
    """Return the catalogue, looking for plugins if nobody has yet.

    Plugin code runs outside of our lock: it may import in turn, and two locks taken in
    different orders would be a deadlock. Several threads may look at once; the first result
    is published and everybody gets that one.
    """
    global _snapshot
    while True:
        found, generation = _snapshot, _generation
        if found is not None:
            return found
        _refuse_while_importing()
        fresh = _discover()
        with _publish:
            if _snapshot is None and _generation == generation:
                _snapshot = fresh


def offers(kind: str) -> tuple[Offer, ...]:
    """Return all records of one kind, run-time ones last."""
    registered = tuple(offer for (k, _), offer in _session.items() if k == kind)
    return snapshot().offers.get(kind, ()) + registered


def state() -> tuple[object, object]:
    """Return what stays the same object as long as no record comes or goes; for caches."""
    return snapshot(), _session


def plugins() -> tuple[PluginInfo, ...]:
    """Return every plugin found, failed and blocked ones too."""
    return snapshot().plugins


def register(spec: Any, *, replace: bool = False) -> None:
    """Add a record at run time.

    Registering the same function or class again (a notebook cell run twice) replaces it
    quietly; a different one under a name that is taken, here or by an installed plugin, is an
    error unless ``replace``.

    :raises TaskSpecError: for a taken name, or something that is no record.
    """
    global _session
    kind = next((name for name, wanted in KINDS.items() if isinstance(spec, wanted)), None)
    if kind is None:
        raise TaskSpecError(f"{spec!r} is not a record the registry knows")
    key = (kind, record_name(spec))
    installed = snapshot().offers.get(kind, ())
    with _publish:
        present = [o for o in installed if record_name(o.spec) == key[1]]
        present = [_session[key]] if key in _session else present
        other = next((o for o in present if _origin(o.spec) != _origin(spec)), None)
        if other is not None and not replace:
            raise TaskSpecError(
                f"{kind[:-1].replace('_', ' ')} '{key[1]}' exists already, from "
                f"{_origin(other.spec)} ({other.plugin.origin}); {_origin(spec)} needs another "
                "name, or replace=True"
            )
        _session = {**_session, key: Offer(spec, SESSION)}


@contextlib.contextmanager
def isolated(*specs: Any) -> Iterator[None]:
    """See only the built-in records and ``specs`` inside the block; for tests.

    No entry point is read, and what the block registers is gone after it.
    """
    before = (_snapshot, _session, _no_plugins)
    _set_state(None, {}, True)
    try:
        for spec in specs:
            register(spec, replace=True)
        yield
    finally:
        _set_state(*before)


def _set_state(
    snapshot: Snapshot | None, session: dict[tuple[str, str], Offer], no_plugins: bool
) -> None:
    global _snapshot, _session, _no_plugins, _generation
    with _publish:
        _generation += 1
        _snapshot, _session, _no_plugins = snapshot, session, no_plugins


def _origin(spec: Any) -> str:
    """Module and qualified name of what the record was made from."""
    ref = getattr(spec, "builder", None) or getattr(spec, "order", None)
    ref = ref or getattr(spec, "build", None) or getattr(spec, "load", None) or spec.run
    if isinstance(ref, str):
        return ref
    kind = ref if hasattr(ref, "__qualname__") else type(ref)
    return f"{kind.__module__}:{kind.__qualname__}"


def _discover() -> Snapshot:
    policy = Policy() if _no_plugins else Policy.from_environment()
    core = [(_unloaded(module, module), False) for module in _builtins]
    installed = [] if _no_plugins else _installed(policy)
    policy.warn_about_unknown([plugin for plugin, _ in installed])
    infos: list[PluginInfo] = []
    found: dict[str, list[Offer]] = {kind: [] for kind in KINDS}
    for plugin, blocked in core + installed:
        info, records = (plugin, Records()) if blocked else load(plugin, strict=policy.strict)
        infos.append(info)
        for kind in KINDS:
            found[kind] += [Offer(spec, info) for spec in getattr(records, kind)]
    shown = [info for info in infos if info.module not in _builtins or info.status != "ok"]
    return Snapshot(tuple(shown), {kind: tuple(given) for kind, given in found.items()})


def _unloaded(name: str, module: str) -> PluginInfo:
    return PluginInfo(name=name, module=module, distribution=None, version=None, status="ok")


def _installed(policy: Policy) -> list[tuple[PluginInfo, bool]]:
    """Entry points in a fixed order, then the extra modules; with whether each is blocked."""
    from importlib import metadata  # 30 ms: not at import time

    plugins: list[tuple[PluginInfo, bool]] = []
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: (e.name, e.value)):
        distribution = entry.dist.name if entry.dist else None
        version = entry.dist.version if entry.dist else None
        info = PluginInfo(
            name=entry.name,
            module=entry.value,
            distribution=distribution,
            version=version,
            status="ok",
        )
        plugins.append(_judged(info, policy, policy.admits(entry.name)))
    loaded = {info.module for info, blocked in plugins if not blocked}
    for module in dict.fromkeys(policy.extra):
        if module not in loaded:  # once is enough: twice would be a conflict with itself
            plugins.append(_judged(_unloaded(module, module), policy, True))
    return plugins


def _judged(info: PluginInfo, policy: Policy, admitted: bool) -> tuple[PluginInfo, bool]:
    if policy.refuses(info.name, info.distribution):
        why = "named in MAMBA_PLUGINS_BLOCK"
    elif not admitted:
        why = "not in MAMBA_PLUGINS_AUTOLOAD" if policy.autoload else "MAMBA_PLUGINS_AUTOLOAD=0"
    else:
        return info, False
    return dataclasses.replace(info, status="blocked", error=why), True
