"""Several files through a predictor, of which some may be bad."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mamba_core.atomic import new_file, refuse_taken

Row = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""``(what, such as a file's name, done, in all)``."""


def take_each(paths: Sequence[Path], take: Callable[[Path], Row]) -> list[Row]:
    """Return a row per file; one bad file among several does not stop the others.

    Rows of bad files, ``file, error``, come after all others. The error of a single file is
    raised.
    """
    rows: list[Row] = []
    bad: list[Row] = []
    for path in paths:
        try:
            rows.append(take(path))
        except (OSError, ValueError) as error:
            if len(paths) == 1:
                raise
            bad.append({"file": str(path), "error": str(error)})
    return rows + bad


def file_by_file(
    inputs: Sequence[Path | str],
    out: Path | str,
    ending: str,
    write: Callable[[Path, Path], Mapping[str, Any]],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Row]:
    """Make ``out/<file name><ending>`` of every file, each whole or not at all.

    One bad file among several does not stop the others; see :func:`take_each`.

    :param ending: of the outputs' names, for instance ``_filled.csv``.
    :param write: reads the first path, writes the second, and returns what the row says further.
    :param overwrite: replace outputs that are there.
    :param progress: called after every file, a bad one too.
    :returns: per file ``file, output`` and what ``write`` returned, or ``file, error``.
    :raises FileExistsError: when an output is there and ``overwrite`` is not set.
    :raises ValueError: when two files would be written as one.
    """
    paths = [Path(path) for path in inputs]
    targets = [Path(out) / f"{path.stem}{ending}" for path in paths]
    refuse_taken(targets, overwrite=overwrite)
    by_path = dict(zip(paths, targets, strict=True))
    done = 0

    def take(path: Path) -> Row:
        nonlocal done
        target = by_path[path]
        try:
            with new_file(target) as temporary:
                facts = write(path, temporary)
        finally:
            done += 1
            if progress is not None:
                progress(path.name, done, len(paths))
        return {"file": str(path), "output": str(target), **facts}

    return take_each(paths, take)
