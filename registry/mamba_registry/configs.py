"""Make a task's config from preset and overrides, and say plainly what is wrong with it.

pydantic is never imported here: a config class is called, and a ``ValueError`` that carries
``.errors()`` is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from mamba_registry.errors import ConfigError, TaskNotFoundError
from mamba_registry.refs import resolve
from mamba_registry.specs import TaskSpec
from mamba_registry.suggest import suggest


def preset_fields(spec: TaskSpec, preset: str | None) -> dict[str, Any]:
    """Return the config fields of a preset, the default one for None.

    :raises TaskNotFoundError: for a preset the task does not have.
    """
    name = preset or spec.default_preset
    if name not in spec.presets:
        raise TaskNotFoundError(
            f"Task '{spec.full_id}' has no preset '{name}'.{suggest(name, spec.presets)} "
            f"Presets: {', '.join(spec.presets)}."
        )
    return dict(resolve(spec.preset_fields)[name])


def make_config(cls: type, fields: Mapping[str, Any]) -> Any:
    """Call a config class.

    :raises ConfigError: with every wrong field's path, value, rule and, for an unknown name, the
        nearest known one.
    """
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        raise config_error(error, cls.__name__, cls) from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay overrides over preset fields; nested mappings are merged, not replaced.

    A mapping with a ``name`` or ``kind`` of its own chooses another variant, so it replaces.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        same = nested and not {"name", "kind"} & set(value)
        merged[key] = merge(old, value) if same else value  # type: ignore[arg-type]
    return merged


def config_error(error: Exception, title: str, cls: type | None = None) -> ConfigError:
    """Turn what a config class raised into one readable message, a line per wrong field."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return ConfigError(f"{title}: {error}")
    return ConfigError("\n".join(_line(item, title, cls) for item in listed()))


def _line(item: Mapping[str, Any], title: str, cls: type | None) -> str:
    path = [str(part) for part in item["loc"]]
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        names = field_names(_nested(cls, path[:-1]))
        where = ".".join([title, *path[:-1]])
        return (
            f"{where} has no field '{path[-1]}'.{suggest(path[-1], names)} "
            f"Fields: {', '.join(names)}."
        )
    if item["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{'.'.join([title, *path])} is required."
    rule = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{'.'.join([title, *path])} = {item['input']!r}: {rule}."


def field_names(cls: type | None) -> list[str]:
    """Return the fields of a dataclass or pydantic model, in order."""
    if cls is None:
        return []
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(getattr(cls, "model_fields", ()))


def _nested(cls: type | None, path: Iterable[str]) -> type | None:
    """Follow a path of fields to the config class it ends in, through optional and unions."""
    import typing

    for name in path:
        if cls is None:
            return None
        hint = typing.get_type_hints(cls).get(name) if name in field_names(cls) else None
        options = [hint, *typing.get_args(hint)]
        cls = next((o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)), cls)
    return cls
