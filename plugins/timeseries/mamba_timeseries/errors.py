"""What is wrong with a table, said so that it can be found."""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 3
"""Names shown of a longer list."""


class FrameError(ValueError):
    """Raised for a table that cannot be used; the message says where and why."""


def listed(names: Iterable[object]) -> str:
    """Return the first few names and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(repr(n) for n in every[:_NAMED]) + more
