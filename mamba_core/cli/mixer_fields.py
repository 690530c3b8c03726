"""The fields of a chosen mixer: ``--model.mixer mamba1 --model.mixer.d_state 32``."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from mamba_core.cli.fields import Field, config_fields


def mixer_names(config: type) -> list[str]:
    """Return the fields of a config that hold a mixer."""
    from mamba_core.mixers import MixerChoice

    hints = typing.get_type_hints(config)
    return [name for name, hint in hints.items() if hint is MixerChoice]


def chosen_mixer(default: str | Mapping[str, Any], given: str | None) -> dict[str, Any]:
    """Return ``{"name": ..., fields}`` of the mixer a command line asks for.

    :param default: the preset's, a name or a dict.
    :param given: the text of the flag, a name; None where it is absent. JSON is left to pydantic.
    """
    chosen = default if given is None or given.startswith("{") else given
    return {"name": chosen} if isinstance(chosen, str) else dict(chosen)


def mixer_fields(name: str, mixer: Mapping[str, Any]) -> list[Field]:
    """Return a mixer's own fields, below the config's field ``name``.

    :raises MixerError: for a mixer nobody offers, with a suggestion.
    """
    from mamba_core import registry
    from mamba_core.mixers.choice import fields_model

    build = registry.resolve(registry.mixer_spec(mixer["name"]).build)
    return [
        Field((name, *leaf.path), leaf.type, leaf.json_types, leaf.default, leaf.help)
        for leaf in config_fields(fields_model(build), mixer)
    ]


def complete_mixers(fields: dict[str, Any], mixers: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to single fields of a mixer which mixer they are of, and its other fields.

    A config takes a mixer whole: ``{"d_state": 32}`` alone says nothing.
    """
    for name, mixer in mixers.items():
        given = fields.get(name)
        if isinstance(given, dict) and "name" not in given:
            fields[name] = {**mixer, **given}
