"""What every typed config in this project agrees on."""

from __future__ import annotations

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", validate_default=True, use_attribute_docstrings=True)
"""For ``pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=STRICT)``.

Unknown fields are errors, defaults are validated like given values, and the docstring under an
attribute becomes its description in the JSON schema (``mamba-core info`` shows it).
"""
