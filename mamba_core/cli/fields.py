"""Config classes as lists of fields, read from their pydantic schemas."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_NAMES = {"integer": "int", "number": "float", "boolean": "bool", "string": "text"}


@dataclass(frozen=True)
class Field:
    """One leaf of a config: what a flag, and a line of ``info``, says about it."""

    path: tuple[str, ...]
    """Names from the config down: ``("encoder", "dim")``."""
    type: str
    """For people: ``int, >= 1``, ``rms|layer``, ``text or null``."""
    json_types: frozenset[str]
    """Names of JSON types it takes; empty where the schema does not say."""
    default: Any
    """As JSON; ``...`` where a value must be given."""
    help: str

    @property
    def dotted(self) -> str:
        """The name below the config: ``encoder.dim``."""
        return ".".join(self.path)


def config_fields(config: type, defaults: Mapping[str, Any] | None = None) -> list[Field]:
    """Flatten a pydantic dataclass (or model) to its leaves.

    :param defaults: JSON values that replace the class's own defaults, as a preset does.
    """
    from pydantic import TypeAdapter

    schema = TypeAdapter(config).json_schema()
    shared = schema.get("$defs", {})
    whole = _with_inherited_help(_deref(schema, shared), config)
    return list(_leaves(whole, shared, (), defaults or {}, ()))


def _with_inherited_help(schema: Mapping[str, Any], config: type) -> Mapping[str, Any]:
    """Pydantic reads the docstrings under a class's own fields only, not under its bases'."""
    bases = [getattr(base, "__pydantic_fields__", {}) for base in config.__mro__]
    fields = {}
    for name, node in schema.get("properties", {}).items():
        found = [base[name].description for base in bases if name in base]
        text = next(filter(None, found), None)
        fields[name] = node if text is None else {"description": text, **node}
    return {**schema, "properties": fields}


def _leaves(
    schema: Mapping[str, Any],
    shared: Mapping[str, Any],
    path: tuple[str, ...],
    given: Mapping,
    trail: tuple[str, ...],
) -> Iterable[Field]:
    """Walk one object of a schema.

    :param trail: the shared schemas on the way here; one that holds itself is not entered twice.
    """
    required = schema.get("required", ())
    for name, raw in schema.get("properties", {}).items():
        node = _deref(raw, shared)
        default = given.get(name, raw.get("default", ... if name in required else None))
        if node.get("properties"):
            inner = default if isinstance(default, Mapping) else {}
            yield from _leaves(node, shared, (*path, name), inner, trail)
            continue
        text, types = _describe(node, shared)
        help_text = inspect.cleandoc(raw.get("description", node.get("description", "")))
        yield Field((*path, name), text, types, default, help_text.replace("\n", " "))
        for part in node.get("anyOf", ()):
            # "a config or null": its fields get flags too, and giving one makes the config
            reference = part.get("$ref", "")
            if reference not in trail:
                deeper = (*trail, reference) if reference else trail
                yield from _leaves(_deref(part, shared), shared, (*path, name), {}, deeper)
        variant = _default_variant(node, default)
        if variant is not None and variant not in trail:
            deeper = (*trail, variant)
            inner = _deref({"$ref": variant}, shared)
            yield from _leaves(inner, shared, (*path, name), default, deeper)


def _default_variant(node: Mapping[str, Any], default: Any) -> str | None:
    """The schema of a "one of several kinds" that the default is of: its fields get flags."""
    choice = node.get("discriminator", {})
    if not isinstance(default, Mapping) or "mapping" not in choice:
        return None
    reference: str | None = choice["mapping"].get(default.get(choice["propertyName"]))
    return reference


def _deref(node: Mapping[str, Any], shared: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        return shared[node["$ref"].rsplit("/", 1)[-1]]
    return node


def _describe(node: Mapping[str, Any], shared: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """Return a schema node's text and the JSON types it takes."""
    if "anyOf" in node:
        parts = [_describe(_deref(part, shared), shared) for part in node["anyOf"]]
        return " or ".join(part[0] for part in parts), frozenset().union(*(p[1] for p in parts))
    if "enum" in node or "const" in node:
        values = node.get("enum", [node.get("const")])
        return "|".join(str(value) for value in values), frozenset(_json_type(v) for v in values)
    kind = node.get("type")
    if kind is None:
        return "JSON", frozenset()
    text = _NAMES.get(kind, kind) + "".join(f", {bound}" for bound in _bounds(node))
    return text, frozenset([kind])


def _bounds(node: Mapping[str, Any]) -> Iterable[str]:
    for key, sign in (
        ("minimum", ">="),
        ("exclusiveMinimum", ">"),
        ("maximum", "<="),
        ("exclusiveMaximum", "<"),
    ):
        if key in node:
            yield f"{sign} {node[key]}"


def _json_type(value: Any) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
        (dict, "object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def parse_value(field: Field, text: str) -> Any:
    """Turn a flag's text into the JSON value its field takes.

    ``none`` is null where null is allowed, ``a,b`` is a list where a list is; other text is
    left to pydantic, whose errors name the field.
    """
    if "null" in field.json_types and text.lower() in ("none", "null"):
        return None
    if field.json_types == {"string"}:
        return text
    try:
        value = json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except json.JSONDecodeError:
        is_list = "array" in field.json_types and "object" not in field.json_types
        return [part.strip() for part in text.split(",")] if is_list else text
    kind = _json_type(value)
    accepted = field.json_types | ({"integer"} if "number" in field.json_types else frozenset())
    if not accepted or kind in accepted:
        return value
    if "array" in accepted:
        return [value]
    return text
