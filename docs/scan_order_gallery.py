"""Draws every scan order: a hook of the site, and a program.

    python docs/scan_order_gallery.py FOLDER

writes one picture per order and ``index.md``. ``mkdocs build`` does the same in memory, so that
no picture is committed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from mamba_core import scan_orders
from mamba_core.scan_orders import NamedOrder, draw
from mamba_registry.specs import ScanOrderSpec

GRIDS = {1: (24,), 2: (8, 11), 3: (3, 4, 5)}
EXPRESSIONS = (
    "hilbert:blocks(4, serpentine)",
    "raster:T",
    "window(4)+window(4):T",
    "bidirectional:fold(0)",
)
MOST_PATHS = 8


def draw_gallery(folder: Path) -> list[Path]:
    """Draw all orders of the shape into a folder; return the page and the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Scan orders, drawn",
        "",
        "Dark is early, bright is late; the red ring is the first token, thin lines are jumps. "
        "Volumes show their slices side by side. Made when the site is built.",
    ]
    files = []
    for name, summary, dims in _shown():
        order = scan_orders.get(name)
        assert isinstance(order, NamedOrder)
        shape = GRIDS[dims]
        file = folder / f"{_file_name(name)}.png"
        paths = [(f"path {k}", path) for k, path in enumerate(order(shape)[:MOST_PATHS])]
        draw(paths, shape, file)
        files.append(file)
        declared = order.continuity(shape)
        lines += ["", f"## `{name}`", "", f"{summary} ({declared})", "", f"![{name}]({file.name})"]
    page = folder / "index.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [page, *files]


def _shown() -> list[tuple[str, str, int]]:
    rows = [
        (spec.name, spec.summary, _dims(spec))
        for spec in scan_orders.list()
        if isinstance(scan_orders.get(spec.name), NamedOrder)
    ]
    return rows + [(text, "an expression", 2) for text in EXPRESSIONS]


def _dims(spec: ScanOrderSpec) -> int:
    sequences = "mamba_core.scan_orders.sequence"
    return spec.dims or (1 if str(spec.order).startswith(sequences) else 2)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c == "-" else "_" for c in name)


def on_files(files: Any, config: Any) -> Any:
    """Add the gallery to the site's files; called by mkdocs."""
    from mkdocs.structure.files import File

    with tempfile.TemporaryDirectory() as place:
        for path in draw_gallery(Path(place)):
            files.append(File.generated(config, f"gallery/{path.name}", content=path.read_bytes()))
    return files


if __name__ == "__main__":
    for written in draw_gallery(Path(sys.argv[1])):
        print(written)
