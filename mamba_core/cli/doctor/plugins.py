"""The installed plugins: imported apart, then asked for conflicts and their own checks."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mamba_core.cli.doctor.finding import Finding, pip_install
from mamba_core.light import HEAVY_MODULES

if TYPE_CHECKING:
    from mamba_registry.specs import PluginInfo

SLOW_MS = 300
"""A light module takes a few milliseconds; every command pays for a slow one."""
_PROBE = """
import importlib, json, sys, time
start = time.perf_counter()
importlib.import_module(sys.argv[1])
ms = 1000 * (time.perf_counter() - start)
print(json.dumps([ms, [name for name in sys.argv[2:] if name in sys.modules]]))
"""


def imports(timeout: float) -> Iterator[Finding]:
    """Import each plugin in a process of its own: time, heavy modules, hangs.

    A plugin that hangs is blocked for the rest of this run, so that the others are looked at.
    """
    for name, module in _entry_points():
        text = f"{name} ({module})"
        try:
            done = _probe(module, timeout)
        except subprocess.TimeoutExpired:
            _block(name)
            yield Finding(
                "Plugins",
                "problem",
                f"{text}: importing takes more than {timeout:g} s",
                f"export MAMBA_PLUGINS_BLOCK={name}",
            )
            continue
        if done.returncode != 0 or not done.stdout.strip():
            continue  # the registry says why, below
        ms, heavy = json.loads(done.stdout.strip().splitlines()[-1])
        if heavy or ms > SLOW_MS:
            loads = f", loads {', '.join(heavy)}" if heavy else ""
            fix = "its author: name heavy parts as 'module:attribute' strings"
            yield Finding("Plugins", "note", f"{text}: {ms:.0f} ms to import{loads}", fix)
        else:
            yield Finding("Plugins", "ok", f"{text}: {ms:.0f} ms to import")


def loaded() -> Iterator[Finding]:
    """The plugins that did not load, and why."""
    from mamba_core import registry

    registry.refresh()
    for plugin in registry.plugins():
        text = f"{plugin.name} ({plugin.origin}): {plugin.status}, {plugin.error}"
        if plugin.status == "blocked":
            yield Finding("Plugins", "note", text)
        elif plugin.status == "incompatible":
            what = plugin.distribution or plugin.name
            fix = pip_install(f"--upgrade mamba-core {what}")
            yield Finding("Plugins", "problem", text, fix)
        elif plugin.status == "failed":
            yield Finding("Plugins", "problem", text, _fix_of_failed(plugin))


def conflicts() -> Iterator[Finding]:
    """Ids that more than one plugin offers, or that belong to another."""
    from mamba_registry import catalog
    from mamba_registry.lookup import conflict_of

    by_id: dict[str, list[catalog.Offer]] = {}
    for offer in catalog.offers("tasks"):
        by_id.setdefault(offer.spec.full_id, []).append(offer)
    for found in by_id.values():
        text = conflict_of(found)
        if text:
            problem, _, fix = text.partition("\n")
            yield Finding("Plugins", "problem", problem, fix)


def own_checks() -> Iterator[Finding]:
    """The checks that plugins bring (``mamba_doctor_checks``)."""
    import mamba_core.registry  # noqa: F401  (brings the core's own records)
    from mamba_registry import catalog
    from mamba_registry.refs import resolve

    for offer in catalog.offers("doctor_checks"):
        name = f"{offer.spec.name} ({offer.plugin.name})"
        try:
            problem = resolve(offer.spec.run)()
        except (Exception, SystemExit) as error:
            fix = f"tell the authors of {offer.plugin.origin}, or MAMBA_PLUGINS_BLOCK it"
            text = f"{name}: the check itself failed: {type(error).__name__}: {error}"
            yield Finding("Checks of plugins", "problem", text, fix)
            continue
        if problem is None:
            yield Finding("Checks of plugins", "ok", f"{name}: {offer.spec.summary}")
        else:
            text, _, fix = problem.partition("\n")
            yield Finding("Checks of plugins", "problem", f"{name}: {text}", fix or text)


def _entry_points() -> list[tuple[str, str]]:
    """Names and modules of what would be loaded, without loading anything."""
    from importlib import metadata

    from mamba_registry.hookspecs import GROUP
    from mamba_registry.policy import Policy

    policy = Policy.from_environment()
    found = [
        (entry.name, entry.value)
        for entry in metadata.entry_points(group=GROUP)
        if policy.admits(entry.name)
        and not policy.refuses(entry.name, entry.dist.name if entry.dist else None)
    ]
    return sorted(found) + [(name, name) for name in policy.extra if not policy.refuses(name, None)]


def _probe(module: str, timeout: float) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-P", "-c", _PROBE, module, *HEAVY_MODULES],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )


def _block(name: str) -> None:
    blocked = os.environ.get("MAMBA_PLUGINS_BLOCK")
    os.environ["MAMBA_PLUGINS_BLOCK"] = f"{blocked},{name}" if blocked else name


def _fix_of_failed(plugin: PluginInfo) -> str:
    """A missing module is installed; one that is there but broken is reinstalled or blocked."""
    block = f"export MAMBA_PLUGINS_BLOCK={plugin.name}"
    missing = (plugin.error or "").partition("No module named '")[2].partition("'")[0]
    top = missing.split(".")[0]
    if top and importlib.util.find_spec(top) is None:
        return f"{pip_install(top)}, or {block}"
    if plugin.distribution:
        return f"{pip_install('--force-reinstall ' + plugin.distribution)}, or {block}"
    return f"correct {plugin.module}, or {block}"
