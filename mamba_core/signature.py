"""A callable's keyword arguments as typed, checked fields."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model


@lru_cache
def fields_model(build: Callable[..., Any], skip: tuple[str, ...]) -> type[BaseModel]:
    """Read the fields of a mixer, an order, ... off its signature: names, types, defaults.

    The signature is the only place where they are written; a user's 15-line mixer gets typed,
    checked fields like a built-in one.

    :param skip: arguments that the caller gives himself and a config never holds.
    """
    signature = inspect.signature(build)
    target = build.__init__ if inspect.isclass(build) else build
    hints = typing.get_type_hints(target, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name in skip or parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return create_model(getattr(build, "__name__", "fields"), __config__=config, **fields)
