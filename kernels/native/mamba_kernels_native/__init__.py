"""The compiled CPU kernels of mamba_kernels: where the library is, or why there is none.

Nothing is loaded here. ``LIBRARY`` is the shared library's path, or None; ``REASON`` then says why.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
_FOUND = sorted(f for f in _FOLDER.glob("kernels.*") if f.suffix in {".so", ".dylib", ".dll"})

LIBRARY: Path | None = _FOUND[0] if _FOUND else None
REASON: str | None = None
if LIBRARY is None:
    _NOTE = _FOLDER / "build_failed.txt"
    REASON = (
        _NOTE.read_text().strip()
        if _NOTE.exists()
        else f"no compiled library in {_FOLDER}: this is a source folder that was not built"
    )

__all__ = ["LIBRARY", "REASON"]
