"""Labelled arrays in one ``.npz``: ``x_train, y_train, x_test, y_test``, perhaps ``_val`` too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Labelled = tuple[NDArray, NDArray[np.int64]]


def read_packed(path: Path) -> tuple[dict[str, Labelled], tuple[str, ...]]:
    """Read samples and labels of each part.

    :returns: part -> samples ``(n, ...)`` and labels int64 ``(n,)``; and the names of the classes,
        numbers as text.
    :raises FileNotFoundError: when the file is not there.
    :raises ValueError: for a file that is no ``.npz`` or lacks one of the four arrays.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the file with the samples")
    with np.load(path, allow_pickle=False) as file:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(file.files)
        if missing:
            raise ValueError(f"{path} lacks {sorted(missing)}: it holds {file.files}")
        parts = {
            part: (file[f"x_{part}"], file[f"y_{part}"].astype(np.int64))
            for part in ("train", "val", "test")
            if f"x_{part}" in file.files
        }
    highest = max(int(labels.max()) for _, labels in parts.values())
    return parts, tuple(str(k) for k in range(highest + 1))
