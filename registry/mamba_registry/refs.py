"""``"module:attribute"`` strings: how a record names what must not be imported yet."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mamba_registry.errors import (
    DependencyMissingError,
    MambaRegistryError,
    PluginLoadError,
    TaskSpecError,
)
from mamba_registry.suggest import suggest

Ref = str | Callable[..., Any]
"""Either the object itself or the text ``"module:attribute"`` (dots in the attribute allowed)."""

BROKEN_TEXTS = {
    "torchvision::nms does not exist": "torchvision does not match this torch build (CPU-only)",
    "libcudart": "torchaudio was built for CUDA and this torch was not",
    "libtorch_cuda": "the library was built for CUDA and this torch was not",
}
"""Parts of import errors seen with mismatched builds, and what they mean."""


def check_ref(ref: Any, where: str) -> None:
    """Refuse what can never resolve, without importing anything.

    :param where: how the message calls it, for instance ``"TaskSpec.builder"``.
    """
    if callable(ref):
        return
    module, colon, attribute = ref.partition(":") if isinstance(ref, str) else ("", "", "")
    parts = [*module.split("."), *attribute.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        raise TaskSpecError(f"{where} = {ref!r}: expected 'module:attribute' or a callable")


def resolve(ref: Any, *, what: str = "mamba-core") -> Any:
    """Import what a ref, or the name of a module, names; an object is returned as it is.

    :param what: who needs it, for the message.
    :raises DependencyMissingError: for a library that is missing, broken or does not fit.
    :raises PluginLoadError: for code that is wrong or leaves Python, or an attribute that is not
        there.
    """
    if not isinstance(ref, str):
        return ref
    try:
        return _import(ref)
    except (KeyboardInterrupt, MemoryError, MambaRegistryError):
        raise
    except (ImportError, OSError, RuntimeError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        lines = [f"{what} cannot import {ref}: {text}"]
        why = next((why for part, why in BROKEN_TEXTS.items() if part in str(error)), None)
        if why:
            lines.append(f"{why}. See `mamba-core doctor`.")
        raise DependencyMissingError("\n".join(lines)) from error
    except BaseException as error:  # SystemExit is no Exception
        text = " ".join(str(error).split())
        raise PluginLoadError(
            f"{what} cannot import {ref}: {type(error).__name__}: {text}"
        ) from error


def _import(ref: str) -> Any:
    module_name, _, attribute = ref.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split(".") if attribute else ():
        if not hasattr(found, part):
            hint = suggest(part, dir(found))
            raise PluginLoadError(f"'{ref}': {module_name} has no attribute '{part}'.{hint}")
        found = getattr(found, part)
    return found
