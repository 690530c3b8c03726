"""Load one plugin: import it, ask its hooks, keep whatever goes wrong as data."""

from __future__ import annotations

import importlib
import inspect
import threading
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import pluggy

from mamba_registry.errors import MambaRegistryError, PluginLoadError, TaskSpecError
from mamba_registry.hookspecs import PLUGIN_API, PROJECT, MambaSpecs
from mamba_registry.specs import (
    CommandSpec,
    DoctorCheck,
    KernelBackendSpec,
    MixerSpec,
    PluginInfo,
    ScanOrderSpec,
    TaskSpec,
    record_name,
)
from mamba_registry.suggest import suggest

_loading = threading.local()


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """Everything one plugin offers."""

    tasks: tuple[TaskSpec, ...] = ()
    scan_orders: tuple[ScanOrderSpec, ...] = ()
    mixers: tuple[MixerSpec, ...] = ()
    kernel_backends: tuple[KernelBackendSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    doctor_checks: tuple[DoctorCheck, ...] = ()


KINDS: dict[str, type] = {
    "tasks": TaskSpec,
    "scan_orders": ScanOrderSpec,
    "mixers": MixerSpec,
    "kernel_backends": KernelBackendSpec,
    "commands": CommandSpec,
    "doctor_checks": DoctorCheck,
}
assert set(KINDS) == {field.name for field in fields(Records)}


def busy() -> str | None:
    """Return the name of the plugin this thread is importing right now."""
    return getattr(_loading, "plugin", None)


def load(plugin: PluginInfo, *, strict: bool = False) -> tuple[PluginInfo, Records]:
    """Import a plugin and collect its records.

    Everything but KeyboardInterrupt is caught, ``sys.exit`` at import too, and kept in the
    returned info. In strict mode it is raised.
    """
    start = time.perf_counter()
    _loading.plugin = plugin.name
    try:
        module = importlib.import_module(plugin.module)
        plugin = replace(plugin, api=_asked_api(module))
        incompatible = _incompatible(module)
        if incompatible:
            if strict:
                raise PluginLoadError(f"plugin '{plugin.name}' ({plugin.origin}) {incompatible}")
            return replace(plugin, status="incompatible", error=incompatible), Records()
        records = _ask(plugin.name, module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if strict and isinstance(error, PluginLoadError):
            raise
        if strict:
            raise PluginLoadError(
                f"plugin '{plugin.name}' ({plugin.origin}) did not load: {_line(error)}"
            ) from error
        failed = replace(
            plugin,
            status="failed",
            error=_line(error),
            traceback=traceback.format_exc(),
            seconds=time.perf_counter() - start,
        )
        return failed, Records()
    finally:
        _loading.plugin = None
    seconds = time.perf_counter() - start
    tasks = tuple(spec.full_id for spec in records.tasks)
    return replace(plugin, status="ok", seconds=seconds, tasks=tasks), records


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _asked_api(module: object) -> str | None:
    asked = getattr(module, "__mamba_api__", (1, 0))
    return ".".join(map(str, asked)) if isinstance(asked, tuple) else None


def _incompatible(module: object) -> str | None:
    """The previous major version stays accepted for one deprecation cycle; there is none yet."""
    asked = getattr(module, "__mamba_api__", (1, 0))
    try:
        major, minor = (int(part) for part in asked)
    except (TypeError, ValueError):
        return f"__mamba_api__ = {asked!r} is not a pair (major, minor)"
    ours = PLUGIN_API
    if major == ours[0] and minor <= ours[1]:
        return None
    return f"needs plugin API {major}.{minor}, this mamba-core speaks {ours[0]}.{ours[1]}"


def _ask(name: str, module: object) -> Records:
    """Each plugin gets a manager of its own, so that a bad one spoils no other's hooks."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(MambaSpecs)
    manager.register(module, name=name)
    _check_hooks(module)
    found = {}
    for kind, wanted in KINDS.items():
        caller = getattr(manager.hook, f"mamba_{kind}")
        answers = caller()
        if len(answers) < len(caller.get_hookimpls()):  # pluggy drops None, a forgotten return
            answers = [None]
        found[kind] = tuple(_flat(kind, wanted, answers))
    return Records(**found)


def _check_hooks(module: object) -> None:
    """Refuse what pluggy would pass over: a misspelt hook, and one that is not marked."""
    known = [f"mamba_{kind}" for kind in KINDS]
    for name, member in vars(module).items():
        options = getattr(member, f"{PROJECT}_impl", None) if inspect.isroutine(member) else None
        hook = (options or {}).get("specname") or name
        if options and hook not in known and not options["optionalhook"]:
            raise MambaRegistryError(
                f"no hook is called '{hook}'.{suggest(hook, known)} Hooks: {', '.join(known)}"
            )
        if name in known and not options:
            raise MambaRegistryError(f"{name} is no hook without @mamba_registry.hookimpl above it")


def _flat(kind: str, wanted: type, answers: Iterable[Any]) -> Iterable[Any]:
    """The records of one hook, checked; each name once."""
    seen = set()
    for answer in answers:
        if isinstance(answer, str) or not isinstance(answer, Iterable):
            raise TaskSpecError(
                f"mamba_{kind} returned {answer!r}: expected several {wanted.__name__}, as a list"
            )
        for record in answer:
            if not isinstance(record, wanted):
                raise TaskSpecError(f"mamba_{kind} returned {record!r}: not a {wanted.__name__}")
            name = record_name(record)
            if name in seen:
                raise TaskSpecError(f"mamba_{kind} returned '{name}' twice")
            seen.add(name)
            yield record
