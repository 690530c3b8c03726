"""Draws the tables of costs of the benchmark pages: a hook of the site, and a program.

    python docs/cost_plots.py FOLDER

writes a picture per table. ``mkdocs build`` does the same in memory and shows each below its
table, so that no picture is committed and none can differ from the figures beside it. A table is
drawn whose first cell names what its columns grow by, and the unit: ``| length, ms | 96 | 384 |``.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = ("benchmarks/timeseries.md", "benchmarks/recsys.md", "benchmarks/vision.md")
TABLE = re.compile(r"(?m)^\| [^|]+, [^|,]+ \|(?: [\d,.]+ \|)+\n\|[-| ]+\|\n(?:\|.*\n)+")


@dataclass(frozen=True)
class Curves:
    """A table of costs: sizes along, a curve per row."""

    size: str
    unit: str
    sizes: tuple[float, ...]
    rows: dict[str, tuple[float, ...]]


def curves(table: str) -> Curves:
    """Read a table whose first row holds sizes."""
    head, _, *lines = [[c.strip() for c in line.strip("|").split("|")] for line in table.split("\n")
                       if line]  # fmt: skip
    size, unit = head[0].rsplit(", ", 1)
    rows = {line[0].replace("`", ""): tuple(map(_number, line[1:])) for line in lines}
    return Curves(size, unit, tuple(map(_number, head[1:])), rows)


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def picture(found: Curves) -> bytes:
    """Draw curves, both axes logarithmic; a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for name, values in found.rows.items():
        axis.loglog(found.sizes, values, marker="o", label=name)
    lowest = min(min(values) for values in found.rows.values())
    axis.set(xlabel=found.size, ylabel=found.unit, ylim=(lowest / 2, None))
    axis.legend(fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)
    return stream.getvalue()


def pictures(page: str, text: str) -> Iterator[tuple[str, bytes]]:
    """Return a file name and a picture for every table of costs on a page."""
    for k, match in enumerate(TABLE.finditer(text)):
        yield _file_name(page, k), picture(curves(match.group()))


def _file_name(page: str, place: int) -> str:
    return f"{Path(page).stem}-cost-{place}.png"


def on_files(files: Any, config: Any) -> Any:
    """Add the pictures to the site's files; called by mkdocs."""
    from mkdocs.structure.files import File

    for page in PAGES:
        text = (Path(config["docs_dir"]) / page).read_text(encoding="utf-8")
        for name, content in pictures(page, text):
            uri = (Path(page).parent / name).as_posix()
            files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show each picture below its table; called by mkdocs for every page."""
    uri = page.file.src_uri
    if uri not in PAGES:
        return markdown
    places = iter(range(len(TABLE.findall(markdown))))
    return TABLE.sub(
        lambda m: f"{m.group()}\n![the table, drawn]({_file_name(uri, next(places))})\n", markdown
    )


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        for name, content in pictures(page, (Path(__file__).parent / page).read_text("utf-8")):
            (out / name).write_bytes(content)
            print(out / name)
