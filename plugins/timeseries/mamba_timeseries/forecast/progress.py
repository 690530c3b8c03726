"""A bar on a terminal while something runs that takes its time, or what the caller gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mamba_core.cli.output import terminal_progress

Progress = Callable[[str, int, int], None]
"""``(what, done, in all)``."""


@contextmanager
def shown(progress: Progress | None, what: str) -> Iterator[Progress]:
    """Return the caller's function, or one that draws a bar where there is a terminal.

    :param progress: what the caller gave; None for the bar.
    :param what: is being done, until the first call says more.
    """
    if progress is not None:
        yield progress
        return
    with terminal_progress() as bar:
        if bar is not None:
            bar(what, 0, 1)
        yield bar or silent


def silent(name: str, done: int, total: int) -> None:
    """Say nothing: for work inside of what has a bar already."""
