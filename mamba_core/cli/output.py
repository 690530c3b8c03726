"""Tables and JSON: rich on a terminal, plain text in a pipe, never rich for JSON."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
Progress = Callable[[str, int, int], None]
"""``(what, done, in all)``."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text under their column names."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=None, header_style="bold", pad_edge=False)
        for row in rows:
            # Text: a "[...]" in a summary is no markup
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    for line in plain_table(columns, rows):
        print(line)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines, the column names first."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def print_json(value: Any) -> None:
    """Print one JSON document; records, mappings and paths become plain JSON."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def plain(value: Any) -> Any:
    """Return ``value`` as what JSON has; other objects as their text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


@contextmanager
def terminal_progress() -> Iterator[Progress | None]:
    """Give what shows progress as a bar on standard error; None where nobody looks.

    The bar is gone afterwards, so it stays out of the results whatever happens inside.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress as Bars

    bars = Bars(console=Console(stderr=True), transient=True)
    task, last = bars.add_task("", total=None), 0

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        bars.start()  # not before there is something to show: others may still speak
        if done < last:  # the next one begins, and with it the clock
            bars.reset(task)
        bars.update(task, description=escape(what), completed=done, total=total)
        last = done

    try:
        yield show
    finally:
        bars.stop()


def terminal_track(plan: Sequence[ItemT], name: Callable[[ItemT], str]) -> Iterator[ItemT]:
    """Yield each item of a plan, whose name stands beside a bar; see :func:`terminal_progress`."""
    with terminal_progress() as show:
        for done, item in enumerate(plan):
            if show is not None:
                show(name(item), done, len(plan))
            yield item


def count_text(count: int) -> str:
    """Return a parameter count as people write it: 950 k, 7.6 M, 1.2 G."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= limit:
            return f"{count / limit:.3g} {unit}"
    return str(count)
