"""Config classes as text and as flags: ``--model.encoder.dim 96`` from a pydantic schema."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single

if TYPE_CHECKING:
    from mamba_registry.specs import TaskSpec

ROLES = ("model", "data", "train", "predict")
"""A task's configs, and the prefixes of their flags."""


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
    return list(_leaves(schema, schema.get("$defs", {}), (), defaults or {}))


def _leaves(
    schema: Mapping[str, Any], shared: Mapping[str, Any], path: tuple[str, ...], given: Mapping
) -> Iterable[Field]:
    required = schema.get("required", ())
    for name, raw in schema.get("properties", {}).items():
        node = _deref(raw, shared)
        default = given.get(name, raw.get("default", ... if name in required else None))
        if node.get("properties"):
            inner = default if isinstance(default, Mapping) else {}
            yield from _leaves(node, shared, (*path, name), inner)
            continue
        text, types = _describe(node, shared)
        help_text = inspect.cleandoc(raw.get("description", node.get("description", "")))
        yield Field((*path, name), text, types, default, help_text.replace("\n", " "))
        for part in node.get("anyOf", ()):
            # "a config or null": its fields get flags too, and giving one makes the config
            yield from _leaves(_deref(part, shared), shared, (*path, name), {})


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


@dataclass(frozen=True)
class Role:
    """One of a task's configs and the prefix of its flags."""

    name: str
    """``model``, ``data``, ``train`` or ``predict``."""
    fields: Sequence[Field]

    def flag(self, field: Field) -> str:
        """Return ``--model.encoder.dim``."""
        return f"--{self.name}.{field.dotted}"


def with_role_flags(command: Callable[..., None], roles: Sequence[Role]) -> Callable[..., None]:
    """Return ``command`` with one option per field in place of its parameter ``fields``.

    ``command`` gets ``fields={"model": {"encoder": {"dim": 96}}, ...}``, holding only what was
    given. Typer reads the options off the signature made here, so ``--help`` lists them in one
    panel per role and a misspelt one is answered with the nearest.
    """
    by_name = {
        "__".join((role.name, *field.path)): (role, field)
        for role in roles
        for field in role.fields
    }
    own = inspect.signature(command, eval_str=True)
    options = [_option(name, role, field) for name, (role, field) in by_name.items()]
    kept = [parameter for name, parameter in own.parameters.items() if name != "fields"]

    def run(*args: Any, **given: Any) -> None:
        fields: dict[str, dict[str, Any]] = {role.name: {} for role in roles}
        for name, (role, field) in by_name.items():
            text = given.pop(name)
            if text is not None:
                _put(fields[role.name], field.path, parse_value(field, text))
        command(*args, **given, fields=fields)

    run.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _option(name: str, role: Role, field: Field) -> inspect.Parameter:
    from rich.markup import escape  # typer prints help as markup, where [x] is a tag

    default = "required" if field.default is ... else f"default: {json.dumps(field.default)}"
    option = typer.Option(
        role.flag(field),
        metavar=field.type,
        help=escape(f"{field.help} ({default})".strip()),
        rich_help_panel=f"Fields of {role.name}",
        show_default=False,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def _put(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise CommandError(f"{'.'.join(path)} given, and {name} = {inner!r} too: give one.")
        target = inner
    target[path[-1]] = value


def find_target(arguments: Sequence[str], switches: Iterable[str]) -> str | None:
    """Return the first word that is neither an option nor an option's value.

    Needed before the options are known: which fields exist depends on the task.

    :param switches: the options that take no value; every other one is followed by one.
    """
    words = iter(arguments)
    flags = {"--help", *switches}
    for word in words:
        if not word.startswith("-"):
            return word
        if word not in flags and "=" not in word:
            next(words, None)
    return None


def spec_roles(spec: TaskSpec, names: Sequence[str] = ROLES) -> list[Role]:
    """Return the fields of a task's configs, role by role; a role it lacks is left out.

    :param names: the roles wanted, of :data:`ROLES`.
    :raises MambaRegistryError: when the plugin's configs cannot be imported.
    """
    from mamba_core import registry

    references = {
        "model": spec.config,
        "data": spec.data_config,
        "train": spec.train_config,
        "predict": spec.predict_config,
    }
    return [
        Role(name, config_fields(registry.resolve(references[name])))
        for name in names
        if references[name] is not None
    ]


def role_app(
    command: Callable[..., None], arguments: Sequence[str], names: Sequence[str], switches: set[str]
) -> typer.Typer:
    """Return the app of a command whose flags depend on its first word, a task or a folder.

    :param names: the roles whose fields become flags.
    :param switches: the command's own options that take no value.
    """
    from mamba_core import registry

    target = find_target(arguments, switches)
    roles = spec_roles(registry.spec(target_task(target)), names) if target else []
    return single(with_role_flags(command, roles))


def target_task(target: str) -> str:
    """Return the task id a command's target stands for: itself, or a saved model's.

    :raises CommandError: for a path without a saved model.
    """
    folder = Path(target)
    if not folder.is_dir():
        if target.startswith((".", "/", "~")):
            raise CommandError(f"{target}: no such folder; give a task id or a saved model.")
        return target
    config = folder / "config.json"
    try:
        return str(json.loads(config.read_text(encoding="utf-8"))["task"])
    except FileNotFoundError:
        raise CommandError(f"{target} holds no config.json: it is not a saved model.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{config} is no saved model's description: {error!r}") from None
