"""Make a task's config from preset and overrides, and say plainly what is wrong with it.

pydantic is never imported here: a config class is called, and a ``ValueError`` that carries
``.errors()`` is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mamba_registry.errors import ConfigError, TaskNotFoundError, TaskSpecError
from mamba_registry.specs import TaskSpec
from mamba_registry.suggest import suggest

RULES = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
}
"""pydantic's error types in our words; others keep pydantic's."""


def check_preset(spec: TaskSpec, preset: str | None) -> str:
    """Return the name of a preset, of the default one for None.

    :raises TaskNotFoundError: for a preset the task does not have.
    """
    name = spec.default_preset if preset is None else preset
    if name not in spec.presets:
        raise TaskNotFoundError(
            f"Task '{spec.full_id}' has no preset '{name}'.{suggest(name, spec.presets)} "
            f"Presets: {', '.join(spec.presets)}."
        )
    return name


def preset_fields(spec: TaskSpec, presets: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the config fields of a preset.

    :param presets: what the record's ``preset_fields`` names.
    :raises TaskSpecError: for a preset that is listed and not there.
    """
    if name not in presets:
        raise TaskSpecError(f"task '{spec.full_id}': preset_fields has no preset '{name}'")
    fields: Mapping[str, Any] = presets[name]
    return fields


def make_config(cls: type, fields: Mapping[str, Any], *, role: str | None = None) -> Any:
    """Call a config class.

    :param role: ``model``, ``data``, ``train`` or ``predict``: the prefix of its flags.
    :raises ConfigError: with every wrong field's path, value, rule and, for an unknown name, the
        nearest known one.
    """
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        raise config_error(error, cls.__name__, cls, role) from error


def merge(
    base: Mapping[str, Any], over: Mapping[str, Any], cls: type | None = None
) -> dict[str, Any]:
    """Lay overrides over preset fields; nested mappings are merged, not replaced.

    A mapping with a ``name`` of its own, or another ``kind``, chooses another variant, so it
    replaces.

    :param cls: the config class; where the preset is silent, a mapping is laid over its default.
    """
    merged = dict(base)
    for key, value in over.items():
        old = merged[key] if key in merged else _default(cls, key)
        if isinstance(value, Mapping) and not _is_variant(old, value):
            inner = type(old) if dataclasses.is_dataclass(old) else None
            merged[key] = merge(_as_mapping(old), value, inner)
        else:
            merged[key] = value
    return merged


def _is_variant(old: Any, new: Mapping[str, Any]) -> bool:
    return "name" in new or ("kind" in new and new["kind"] != _as_mapping(old).get("kind"))


def _as_mapping(config: Any) -> Mapping[str, Any]:
    """The fields of a config or mapping, one level deep; nothing of anything else."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return config if isinstance(config, Mapping) else {}


def _default(cls: type | None, name: str) -> Any:
    """A field's default, None where it has none."""
    for field in dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ():
        if field.name == name and field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
        if field.name == name:
            return field.default
    return None


def config_error(
    error: Exception, title: str, cls: type | None = None, role: str | None = None
) -> ConfigError:
    """Turn what a config class raised into one readable message, a line per wrong field."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return ConfigError(f"{title}: {error}")
    lines = (_line(item, title, cls, role) for item in listed())
    return ConfigError("\n".join(dict.fromkeys(lines)))


def _line(item: Mapping[str, Any], title: str, cls: type | None, role: str | None) -> str:
    path = [str(part) for part in item["loc"]]
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        names = field_names(_nested(cls, path[:-1]))
        where = ".".join([title, *path[:-1]])
        return (
            f"{where} has no field '{path[-1]}'.{suggest(path[-1], names)} "
            f"Fields: {', '.join(names)}."
        )
    if item["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        leaves = [".".join(leaf) for leaf in _required_leaves(cls, path)]
        flags = " and ".join(f"--{role}.{leaf}" for leaf in leaves)
        flag = f" ({flags} on the command line)" if role else ""
        return f"{'.'.join([title, *path])} is required{flag}."
    if item["type"] in RULES:
        rule = RULES[item["type"]].format(**item["ctx"])
    else:
        rule = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not path:  # the fields do not go together; the input would be all of them
        return f"{title}: {rule}."
    return f"{'.'.join([title, *path])} = {item['input']!r}: {rule}."


def field_names(cls: type | None) -> list[str]:
    """Return the fields of a dataclass or pydantic model, in order."""
    if cls is None:
        return []
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(getattr(cls, "model_fields", ()))


def _required_leaves(cls: type | None, path: Sequence[str]) -> list[list[str]]:
    """What must be given for a field: itself, or the required fields of the config it holds.

    Of a choice between several configs none is meant, so the field itself.
    """
    choices = _choices(_nested(cls, path[:-1]), path[-1])
    missing = dataclasses.MISSING
    names = [
        field.name
        for field in (dataclasses.fields(choices[0]) if len(choices) == 1 else ())
        if field.default is missing and field.default_factory is missing
    ]
    leaves = [leaf for name in names for leaf in _required_leaves(cls, [*path, name])]
    return leaves or [list(path)]


def _nested(cls: type | None, path: Iterable[str]) -> type | None:
    """Follow a path of fields to the config class it ends in, through optional and unions."""
    for name in path:
        cls = next(iter(_choices(cls, name)), cls)
    return cls


def _choices(cls: type | None, name: str) -> list[type[Any]]:
    """The config classes a field may hold, none for a plain value."""
    import typing

    if cls is None or name not in field_names(cls):
        return []
    hint = typing.get_type_hints(cls, include_extras=False).get(name)
    options = [hint, *typing.get_args(hint)]
    return [o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)]
