"""Python, torch, devices, variables, cache, and files that hide installed packages."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from mamba_core.cli.doctor.finding import Finding, pip_install

VARIABLES = (
    "MAMBA_CACHE",
    "MAMBA_KERNELS_BACKEND",
    "MAMBA_NATIVE_ISA",
    "MAMBA_OFFLINE",
    "MAMBA_PLUGINS_AUTOLOAD",
    "MAMBA_PLUGINS_BLOCK",
    "MAMBA_PLUGINS_EXTRA",
    "MAMBA_PLUGINS_STRICT",
    "MAMBA_SHARED",
)
"""Every variable this project reads."""
_OTHERS = ("MAMBA_EXE", "MAMBA_ROOT_PREFIX", "MAMBA_NO_BANNER")
"""Set by the package manager of the same name; not ours, no mistake."""
_MINIMUM = (3, 11)
_MIN_TORCH = (2, 11)
_HIDEABLE = (
    "kernels",
    "lightning",
    "mamba_core",
    "mamba_kernels",
    "mamba_registry",
    "numpy",
    "pydantic",
    "rich",
    "safetensors",
    "torch",
    "torchaudio",
    "torchvision",
    "transformers",
    "triton",
    "typer",
)


def python() -> Iterator[Finding]:
    """The interpreter."""
    text = f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}"
    if sys.version_info[:2] < _MINIMUM:
        yield Finding("Python", "problem", text, "make an environment with Python 3.11 or newer")
    else:
        yield Finding("Python", "ok", text)


def torch() -> Iterator[Finding]:
    """Torch and triton, by import: metadata says yes for a broken one."""
    try:
        import torch
    except Exception as error:
        reason = str(error).split("\n")[0]
        yield Finding(
            "Torch", "problem", f"torch does not import: {reason}", pip_install("'torch>=2.11'")
        )
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    text = f"torch {torch.__version__} ({build})"
    numbers = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if numbers < _MIN_TORCH:
        yield Finding("Torch", "problem", text, pip_install("--upgrade 'torch>=2.11'"))
    else:
        yield Finding("Torch", "ok", text)
    try:
        yield Finding("Torch", "ok", f"triton {importlib.metadata.version('triton')}")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("Torch", "note", "no triton: the kernels for GPUs are not used")


def devices() -> Iterator[Finding]:
    """What torch can compute on."""
    try:
        import torch
    except Exception:
        return  # reported above
    cores = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    yield Finding("Devices", "ok", f"cpu: {torch.backends.cpu.get_cpu_capability()}, {cores}")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        yield Finding("Devices", "ok", f"cuda:{index}: {properties.name}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        yield Finding("Devices", "ok", "mps")
    if torch.version.cuda and not torch.cuda.is_available():
        yield Finding("Devices", "note", "a CUDA build of torch, but no usable GPU")


def variables() -> Iterator[Finding]:
    """Every ``MAMBA_*`` variable; one nobody reads is probably misspelt."""
    from mamba_registry.suggest import suggest

    for name in sorted(name for name in os.environ if name.startswith("MAMBA_")):
        text = f"{name}={os.environ[name]}"
        if name in VARIABLES:
            yield Finding("Variables", "ok", text)
        elif name not in _OTHERS:
            text += f": no such variable.{suggest(name, VARIABLES)}"
            yield Finding("Variables", "problem", text, f"unset {name}")


def cache() -> Iterator[Finding]:
    """The folder for downloaded weights."""
    from mamba_registry.weights import cache_folder

    folder = cache_folder()
    parent = folder
    while not parent.exists():
        parent = parent.parent
    if parent.is_dir() and os.access(parent, os.W_OK):
        yield Finding("Cache", "ok", f"weights are kept in {folder}")
    else:
        text = f"{folder} cannot be written: weights that are not shipped cannot be fetched"
        yield Finding("Cache", "note", text, "export MAMBA_CACHE=/a/folder/you/may/write")


def shadows() -> Iterator[Finding]:
    """Files of the current folder that a script started here would import instead."""
    here = Path.cwd()
    for name in _HIDEABLE:
        candidates = [p for p in (here / name / "__init__.py", here / f"{name}.py") if p.is_file()]
        installed = _installed_at(name)
        if candidates and installed and installed.resolve() != candidates[0].resolve():
            yield Finding(
                "Current folder",
                "problem",
                f"{candidates[0]} hides the installed {name} ({installed})",
                "rename it, or start Python in another folder",
            )


def _installed_at(name: str) -> Path | None:
    """Where a package lies when the current folder is not looked at."""
    from importlib.machinery import PathFinder

    here = Path.cwd().resolve()
    path = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.origin is None:
        spec = _editable(name)
    return Path(spec.origin) if spec and spec.origin else None


def _editable(name: str) -> importlib.machinery.ModuleSpec | None:
    """An editable install may be found by an import hook instead of the path."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
