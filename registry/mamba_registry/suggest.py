"""Did you mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, options: Iterable[str]) -> str | None:
    """Return the option that looks most like ``name``, or None if none does."""
    by_lower = {option.lower(): option for option in options}
    found = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggest(name: str, options: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"``, or an empty text.

    >>> suggest("rastor", ["raster", "reverse"])
    " Did you mean 'raster'?"
    """
    found = closest(name, options)
    return f" Did you mean '{found}'?" if found else ""
