"""Flags made from a task's configs: ``--model.encoder.dim 96``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mamba_core.cli.errors import CommandError
from mamba_core.cli.extra import single
from mamba_core.cli.fields import Field, config_fields, parse_value
from mamba_core.cli.mixer_fields import (
    chosen_mixer,
    complete_mixers,
    mixer_fields,
    mixer_names,
)

if TYPE_CHECKING:
    from mamba_registry.specs import TaskSpec

_CONFIGS = {
    "model": "config",
    "data": "data_config",
    "train": "train_config",
    "predict": "predict_config",
}
ROLES = tuple(_CONFIGS)
"""A task's configs, and the prefixes of their flags."""


@dataclass(frozen=True)
class Role:
    """One of a task's configs and the prefix of its flags."""

    name: str
    """One of :data:`ROLES`."""
    fields: Sequence[Field]
    mixers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields that hold a mixer -> what it is by default, ``{"name": ..., its fields}``."""

    def flag(self, leaf: Field) -> str:
        """Return ``--model.encoder.dim``."""
        return f"--{self.name}.{leaf.dotted}"


def with_role_flags(command: Callable[..., None], roles: Sequence[Role]) -> Callable[..., None]:
    """Return ``command`` with one option per field in place of its parameter ``fields``.

    ``command`` gets ``fields={"model": {"encoder": {"dim": 96}}, ...}``, holding only what was
    given. Typer reads the options off the signature made here, so ``--help`` lists them in one
    panel per role and a misspelt one is answered with the nearest.
    """
    by_name = {
        "__".join((role.name, *leaf.path)): (role, leaf) for role in roles for leaf in role.fields
    }
    own = inspect.signature(command, eval_str=True)
    options = [_option(name, role, leaf) for name, (role, leaf) in by_name.items()]
    kept = [parameter for name, parameter in own.parameters.items() if name != "fields"]

    def run(*args: Any, **given: Any) -> None:
        fields: dict[str, dict[str, Any]] = {role.name: {} for role in roles}
        for name, (role, leaf) in by_name.items():
            text = given.pop(name)
            if text is not None:
                _put(fields[role.name], leaf.path, parse_value(leaf, text))
        for role in roles:
            complete_mixers(fields[role.name], role.mixers)
        command(*args, **given, fields=fields)

    run.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _option(name: str, role: Role, leaf: Field) -> inspect.Parameter:
    from rich.markup import escape  # typer prints help as markup, where [x] is a tag

    default = "required" if leaf.default is ... else f"default: {json.dumps(leaf.default)}"
    option = typer.Option(
        role.flag(leaf),
        metavar=leaf.type,
        help=escape(f"{leaf.help} ({default})".strip()),
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
        if isinstance(inner, str):  # a mixer's name, and now a field of it
            inner = target[name] = {"name": inner}
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
    from mamba_registry.tasks import load_ref

    return [
        Role(name, config_fields(load_ref(spec, _CONFIGS[name])))
        for name in names
        if getattr(spec, _CONFIGS[name]) is not None
    ]


def role_app(
    command: Callable[..., None], arguments: Sequence[str], names: Sequence[str], switches: set[str]
) -> typer.Typer:
    """Return the app of a command whose flags depend on its first word, a task or a folder.

    Where the model's own fields may be set, it is built anew: a task is meant, never a folder.

    :param names: the roles whose fields become flags.
    :param switches: the command's own options that take no value.
    """

    target = find_target(arguments, switches)
    if target is None:
        return single(with_role_flags(command, []))
    spec = _task_spec(target) if "model" in names else target_spec(target)
    roles = spec_roles(spec, [name for name in names if name != "model"])
    if "model" in names:
        roles.insert(0, model_role(spec, arguments))
    return single(with_role_flags(command, roles))


def model_role(spec: TaskSpec, arguments: Sequence[str]) -> Role:
    """Return the model's fields, with the preset's values as defaults and the mixer's fields.

    :param arguments: where ``--preset`` and ``--model.mixer`` are looked for.
    """
    from pydantic import TypeAdapter

    from mamba_core import registry

    config = registry.config(spec.full_id, preset=option_value(arguments, "--preset"))
    defaults = TypeAdapter(type(config)).dump_python(config, mode="json")
    given = {name: option_value(arguments, f"--model.{name}") for name in mixer_names(type(config))}
    mixers = {name: chosen_mixer(defaults[name], text) for name, text in given.items()}
    own = config_fields(type(config), defaults)
    inner = [leaf for name, mixer in mixers.items() for leaf in mixer_fields(name, mixer)]
    return Role("model", [*own, *inner], mixers)


def option_value(arguments: Sequence[str], option: str) -> str | None:
    """Return what follows an option, or None where it is not given."""
    for index, word in enumerate(arguments):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and index + 1 < len(arguments):
            return arguments[index + 1]
    return None


def _task_spec(target: str) -> TaskSpec:
    """The task of a command that builds a model anew."""
    from mamba_core import registry

    try:
        return registry.spec(target)
    except (registry.TaskNotFoundError, registry.TaskSpecError):
        if not Path(target).exists():
            raise
        raise CommandError(
            f"{target} is no task but a path: give a task id. A training that stopped goes on "
            f"with its task id, --out {target} and --resume."
        ) from None


def target_spec(target: str) -> TaskSpec:
    """Return the record of the task a command's target stands for: its own, or a saved model's.

    :raises CommandError: for a path without a folder.
    :raises MambaRegistryError: for an unknown task, and for a folder that is no saved model.
    """
    from mamba_core import registry

    if Path(target).is_dir():
        from mamba_core.pretrained import names_folder, saved_spec

        if names_folder(target):
            return saved_spec(target)
        try:
            return registry.spec(target)
        except (registry.TaskNotFoundError, registry.TaskSpecError):
            return saved_spec(target)  # says what is wrong with the folder
    if Path(target).is_file():
        raise CommandError(
            f"{target} is a file: give a saved model's folder, or a task id and --weights FILE."
        )
    if target.startswith((".", "/", "~")):
        raise CommandError(f"{target}: no such folder; give a task id or a saved model.")
    return registry.spec(target)
