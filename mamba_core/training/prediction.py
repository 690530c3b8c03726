"""``mamba_core.predict``: a trained model on files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mamba_core.pretrained import saved_spec, target_folder


def predict(
    target: str | Path,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    weights: str = "default",
    device: str | None = None,
    overwrite: bool = False,
    predict: Mapping[str, Any] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run a task's predictor on files.

    :param target: a task id for its weights, a saved model's folder or a training's results
        folder.
    :param inputs: files to read.
    :param out: folder for the results.
    :param weights: which of the task's weights, for a task id.
    :param device: ``cpu``, ``cuda``, ...; None takes a GPU when there is one.
    :param overwrite: replace results that are there.
    :param predict: fields of the task's predict config.
    :param progress: called with ``(file name, done, in all)``.
    :returns: one row of JSON values per file.
    :raises WeightsError: for a task without trained weights, or a folder that is no saved model.
    """
    from mamba_core import registry

    source: str | Path = weights
    task = str(target)
    saved = target_folder(target, weights)
    if saved is not None:
        source, task = saved, saved_spec(saved).full_id
    predictor = registry.predictor(task, weights=source, device=device, **(predict or {}))
    files = [Path(path) for path in inputs]
    return predictor.run(files, Path(out), overwrite=overwrite, progress=progress)
