"""``"module:attribute"`` strings: how a record names what must not be imported yet."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mamba_registry.errors import PluginLoadError, TaskSpecError
from mamba_registry.suggest import suggest

Ref = str | Callable[..., Any]
"""Either the object itself or the text ``"module:attribute"`` (dots in the attribute allowed)."""


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


def resolve(ref: Any) -> Any:
    """Import what a ref names; an object is returned as it is.

    :raises ImportError: as the module raises it.
    :raises PluginLoadError: when the module has no such attribute.
    """
    if not isinstance(ref, str):
        return ref
    module_name, _, attribute = ref.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = suggest(part, dir(found))
            raise PluginLoadError(f"'{ref}': {module_name} has no attribute '{part}'.{hint}")
        found = getattr(found, part)
    return found
