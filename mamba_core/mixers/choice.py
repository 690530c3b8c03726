"""Which mixer a config asks for: a name, and that mixer's own fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema
from torch import nn

from mamba_core import signature

# given by the caller of build_mixer, or about placement: never fields of a config
_NOT_FIELDS = ("self", "d_model", "device", "dtype")


class MixerChoice:
    """A registered mixer and the fields that differ from its defaults.

    In a config, ``mixer="mamba2"`` and ``mixer={"name": "mamba2", "d_state": 64}`` both become
    one of these; it is written back in the same form. Immutable, hashable, comparable.
    Fields are checked against the mixer when it is built (:func:`build_mixer`), so that a
    config can be read where the mixer's plugin is not installed.
    """

    __slots__ = ("_fields", "name")

    def __init__(self, name: str, **fields: Any) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"mixer name {name!r}: must be text such as 'mamba2'")
        self.name = name
        self._fields = json.dumps(fields, sort_keys=True)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields given, as JSON values."""
        return json.loads(self._fields)

    def plain(self) -> str | dict[str, Any]:
        """Return the JSON form: the bare name, or a dict with ``name`` and the fields."""
        return {"name": self.name, **self.fields} if self.fields else self.name

    @classmethod
    def parse(cls, value: Any) -> MixerChoice:
        """Make one from a name, a dict with ``name``, or a MixerChoice.

        :raises ValueError: for anything else; the message holds the two forms.
        """
        if isinstance(value, MixerChoice):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return cls(**value)
        raise ValueError(
            f"{value!r} is not a mixer: give a name ('mamba2') or "
            "{'name': 'mamba2', 'd_state': 64}"
        )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        text_or_dict = core_schema.union_schema(
            [core_schema.str_schema(), core_schema.dict_schema(core_schema.str_schema())]
        )
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            json_schema_input_schema=text_or_dict,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.plain),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MixerChoice):
            return NotImplemented
        return (self.name, self._fields) == (other.name, other._fields)

    def __hash__(self) -> int:
        return hash((self.name, self._fields))

    def __repr__(self) -> str:
        return f"MixerChoice.parse({self.plain()!r})"

    def __getstate__(self) -> tuple[str, str]:
        return (self.name, self._fields)

    def __setstate__(self, state: tuple[str, str]) -> None:
        self.name, self._fields = state


def fields_model(build: Callable[..., nn.Module]) -> type[BaseModel]:
    """Return a mixer's fields, read off its constructor."""
    return signature.fields_model(build, _NOT_FIELDS)


def takes_shape(choice: MixerChoice) -> bool:
    """Say whether a mixer reads the grid itself, without building it.

    :raises mamba_core.registry.MixerError: for a name nobody offers.
    """
    from mamba_core import registry

    build = registry.resolve(registry.mixer_spec(choice.name).build)
    return bool(getattr(build, "takes_shape", False))


def build_mixer(choice: MixerChoice | str | Mapping[str, Any], d_model: int) -> nn.Module:
    """Build the mixer a config asks for.

    :param choice: what a config's ``mixer`` field holds.
    :param d_model: channels of the tokens.
    :returns: a module ``(B, L, d_model) -> (B, L, d_model)``.
    :raises mamba_core.registry.MixerError: for a name nobody offers (with a suggestion).
    :raises mamba_core.registry.ConfigError: for fields the mixer does not have or accept.
    """
    from mamba_core import registry

    choice = MixerChoice.parse(choice)
    build = registry.resolve(registry.mixer_spec(choice.name).build)
    try:
        fields = fields_model(build).model_validate(choice.fields)
    except ValidationError as error:
        raise registry.config_error(error, f"mixer '{choice.name}'", fields_model(build)) from None
    given = {name: getattr(fields, name) for name in fields.model_fields_set}
    try:
        return build(d_model, **given)
    except ValueError as error:
        raise registry.ConfigError(f"mixer '{choice.name}': {error}") from error
