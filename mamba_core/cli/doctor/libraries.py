"""The domain libraries of plugins: torchvision and torchaudio break when torch is swapped."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

from mamba_core.cli.doctor.finding import Finding, pip_install

USUAL = ("lightning", "torchaudio", "torchmetrics", "torchvision", "torch_geometric")
"""Looked at whenever they are installed; a broken one breaks others that import it."""
TIMEOUT_S = 120.0
_ANSWER = "mamba-core-doctor:"
"""Before each line that is ours: libraries may print while they are imported."""
_PROBE = f"""
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        answer = [True, str(getattr(module, "__version__", ""))]
    except BaseException as error:
        answer = [False, type(error).__name__ + ": " + str(error)]
    print("{_ANSWER}" + json.dumps([name, *answer]), flush=True)
"""


def domain_libraries() -> Iterator[Finding]:
    """Import every library the installed tasks need, in another process."""
    needed = _required()
    for name, use in needed.items():
        if importlib.util.find_spec(name) is None:
            status = "problem" if use == "building" else "note"
            text = f"{name} is missing; a task needs it for {use}"
            yield Finding("Libraries", status, text, pip_install(name))  # type: ignore[arg-type]
    present = sorted(n for n in {*USUAL, *needed} if importlib.util.find_spec(n) is not None)
    for name, works, text in try_imports(present):
        if works:
            yield Finding("Libraries", "ok", f"{name} {text}")
        else:
            first = text.split("\n")[0]
            yield Finding("Libraries", "problem", f"{name}: {first}", fix_for(name, text))


def _required() -> dict[str, str]:
    from mamba_core import registry

    needed: dict[str, str] = {}
    for spec in registry.list():
        needed |= dict.fromkeys(spec.requires_data, "its data")
        needed |= dict.fromkeys(spec.requires, "building")
    return needed


def try_imports(names: Sequence[str]) -> Iterator[tuple[str, bool, str]]:
    """Import modules one after another elsewhere: (name, works, version or error).

    One that kills the process is reported, and the rest is tried in a fresh one.
    """
    rest = list(names)
    while rest:
        answers, reason = _run(rest)
        for name, works, text in answers:
            yield name, works, text
            rest.remove(name)
        if rest:
            yield rest[0], False, f"importing it ends Python ({reason})"
            rest.pop(0)


def _run(names: Sequence[str]) -> tuple[list[tuple[str, bool, str]], str]:
    """Return the answers that came, and why there are no more."""
    command = [sys.executable, "-P", "-c", _PROBE, *names]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        output, reason = done.stdout, f"exit code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        raw = error.stdout or b""
        output = raw.decode() if isinstance(raw, bytes) else raw
        reason = f"no answer in {TIMEOUT_S:.0f} s"
    lines = [line for line in output.splitlines() if line.startswith(_ANSWER)]
    return [tuple(json.loads(line.removeprefix(_ANSWER))) for line in lines], reason


def fix_for(name: str, error: str) -> str:
    """Return the way out for an import error, told apart by its text."""
    from mamba_registry.refs import BROKEN_TEXTS

    why = next((why for part, why in BROKEN_TEXTS.items() if part in error), None)
    if why or name in ("torchaudio", "torchvision"):
        line = pip_install(f"--force-reinstall torch {name}")
        return f"{why + ': ' if why else ''}install both from one index: {line}"
    return pip_install(f"--force-reinstall {name}")
