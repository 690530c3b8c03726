"""Draws the tables of ``benchmarks/timeseries.md``: a hook of the site, and a program.

    python docs/cost_plots.py FOLDER

writes a picture per table. ``mkdocs build`` does the same in memory and shows each below its
table, so that no picture is committed and none can differ from the figures beside it.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = "benchmarks/timeseries.md"
TABLE = re.compile(r"(?m)^\|.*\n\|[-| ]+\|\n(?:\|.*\n)+")


@dataclass(frozen=True)
class Curves:
    """A table of milliseconds: sizes along, a curve per row."""

    size: str
    sizes: tuple[float, ...]
    rows: dict[str, tuple[float, ...]]


def curves(table: str) -> Curves:
    """Read a table whose first row holds sizes."""
    head, _, *lines = [[c.strip() for c in line.strip("|").split("|")] for line in table.split("\n")
                       if line]  # fmt: skip
    rows = {line[0].replace("`", ""): tuple(map(float, line[1:])) for line in lines}
    return Curves(head[0], tuple(map(float, head[1:])), rows)


def picture(found: Curves) -> bytes:
    """Draw curves, both axes logarithmic; a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for name, values in found.rows.items():
        axis.loglog(found.sizes, values, marker="o", label=name)
    lowest = min(min(values) for values in found.rows.values())
    axis.set(xlabel=found.size, ylabel="milliseconds", ylim=(min(lowest / 2, 0.5), None))
    axis.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)
    return stream.getvalue()


def pictures(text: str) -> Iterator[tuple[str, bytes]]:
    """Return a file name and a picture for every table of the page."""
    for k, match in enumerate(TABLE.finditer(text)):
        yield _file_name(k), picture(curves(match.group()))


def _file_name(place: int) -> str:
    return f"timeseries-cost-{place}.png"


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures to the site's files; called by mkdocs."""
    from mkdocs.structure.files import File

    text = (Path(config["docs_dir"]) / PAGE).read_text(encoding="utf-8")
    folder = Path(PAGE).parent
    for name, content in pictures(text):
        files.append(File.generated(config, (folder / name).as_posix(), content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show each picture below its table; called by mkdocs for every page."""
    if page.file.src_uri != PAGE:
        return markdown
    places = iter(range(len(TABLE.findall(markdown))))
    return TABLE.sub(
        lambda m: f"{m.group()}\n![the table, drawn]({_file_name(next(places))})\n", markdown
    )


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, content in pictures((Path(__file__).parent / PAGE).read_text(encoding="utf-8")):
        (out / name).write_bytes(content)
        print(out / name)
