"""Load one plugin: import it, ask its hooks, keep whatever goes wrong as data."""

from __future__ import annotations

import importlib
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
)

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
        incompatible = _incompatible(plugin.name, module)
        if incompatible:
            if strict:
                raise PluginLoadError(incompatible)
            return replace(plugin, status="incompatible", error=incompatible), Records()
        records = _ask(plugin.name, module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
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


def _incompatible(name: str, module: object) -> str | None:
    """The previous major version stays accepted for one deprecation cycle; there is none yet."""
    asked = getattr(module, "__mamba_api__", (1, 0))
    try:
        major, minor = (int(part) for part in asked)
    except (TypeError, ValueError):
        return f"plugin '{name}': __mamba_api__ = {asked!r} is not a pair (major, minor)"
    ours = PLUGIN_API
    if major == ours[0] and minor <= ours[1]:
        return None
    return (
        f"plugin '{name}' needs plugin API {major}.{minor}, this mamba-core speaks "
        f"{ours[0]}.{ours[1]}"
    )


def _ask(name: str, module: object) -> Records:
    """Each plugin gets a manager of its own, so that a bad one spoils no other's hooks."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(MambaSpecs)
    manager.register(module, name=name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = ", ".join(f"mamba_{kind}" for kind in KINDS)
        raise MambaRegistryError(f"{error}; the hooks are {known}") from None
    found = {
        kind: tuple(_flat(kind, wanted, getattr(manager.hook, f"mamba_{kind}")()))
        for kind, wanted in KINDS.items()
    }
    return Records(**found)


def _flat(kind: str, wanted: type, answers: Iterable[Any]) -> Iterable[Any]:
    for answer in answers:
        if isinstance(answer, str) or not isinstance(answer, Iterable):
            raise TaskSpecError(f"mamba_{kind} must return several {wanted.__name__}: {answer!r}")
        for record in answer:
            if not isinstance(record, wanted):
                raise TaskSpecError(f"mamba_{kind} returned {record!r}: not a {wanted.__name__}")
            yield record
