"""Docstrings as the site shows them: what Markdown does not know is put in its words.

An extension of griffe, which reads the sources for mkdocstrings.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|data|meth|attr|mod|exc):`~?(?:[\w.]+\.)?(\w+)`")
_RAISES = re.compile(r"^:raises ([\w.]+(?:, [\w.]+)+): *(.*(?:\n[ \t]+.*)*)", re.MULTILINE)
_PROMPT = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


def markdown(text: str) -> str:
    """Return a docstring in Markdown.

    Roles become code, ``>>>`` examples become fenced blocks, ``::`` before a block becomes ``:``,
    and an exception list becomes one entry per exception.
    """
    text = _ROLE.sub(r"`\1`", text)
    text = _RAISES.sub(
        lambda found: "\n".join(f":raises {name}: {found[2]}" for name in found[1].split(", ")),
        text,
    )
    text = _PROMPT.sub(lambda found: f"```pycon\n{found[0]}\n```", text)
    return re.sub(r"::$", ":", text, flags=re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites every docstring once it was read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for modules, classes, functions and attributes."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
