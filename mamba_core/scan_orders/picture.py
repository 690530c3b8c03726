"""Pictures of paths: the way through the grid, coloured by time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamba_registry.errors import DependencyMissingError

MOST_PANELS = 16
"""Paths in one picture; further ones are left out."""


def draw(
    paths: Sequence[tuple[str, Tensor]],
    shape: tuple[int, ...],
    file: Path,
    *,
    columns: int | None = None,
) -> None:
    """Draw paths side by side into a picture file.

    Early steps are dark, late ones bright; jumps are drawn thinner. Volumes show their slices
    along the first axis next to each other. Extra tokens have no place in a grid and are left
    out, as are empty slots.

    :param paths: title and int64 ``(L,)`` each.
    :param shape: the grid, one to three sizes.
    :param file: its ending says the format, ``.png`` or ``.svg`` for instance.
    :param columns: panels beside each other; None takes up to four.
    :raises DependencyMissingError: without matplotlib, with the line that installs it.
    """
    plt = _pyplot()
    paths = paths[:MOST_PANELS]
    across = min(columns or 4, len(paths))
    down = -(-len(paths) // across)
    height, width = _sheet(shape)
    side = 2.8
    size = (side * across * max(1.0, width / height), side * down * max(0.35, height / width) + 0.3)
    figure, axes = plt.subplots(
        down, across, figsize=size, squeeze=False, layout="constrained", dpi=110
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, path) in zip(axes.flat, paths, strict=False):
        _draw_path(axis, path, shape)
        axis.set(xlim=(-0.7, width - 0.3), ylim=(height - 0.3, -0.7), aspect="equal")
        axis.set_title(title, fontsize=9)
    figure.savefig(file)
    plt.close(figure)


def _draw_path(axis: Any, path: Tensor, shape: tuple[int, ...]) -> None:
    from matplotlib.collections import LineCollection

    path = path[(path >= 0) & (path < math.prod(shape))].cpu()
    y, x = _places(path, shape)
    time = torch.linspace(0, 1, len(path))
    points = torch.stack([x, y], dim=1)
    if len(path) > 1:
        lines = torch.stack([points[:-1], points[1:]], dim=1)
        far = (points.diff(dim=0).abs().amax(1) > 1).tolist()
        axis.add_collection(
            LineCollection(
                list(lines.numpy()),
                array=time[1:].numpy(),
                cmap="viridis",
                linewidths=[0.4 if jump else 1.6 for jump in far],
            )
        )
    axis.scatter(x, y, c=time, cmap="viridis", s=max(2.0, min(30.0, 1500 / len(path))), zorder=2)
    if len(path):
        axis.scatter(x[:1], y[:1], s=60, facecolors="none", edgecolors="red", zorder=3)


def _sheet(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the drawn sheet, in cells."""
    if len(shape) == 1:
        return 1, shape[0]
    if len(shape) == 2:
        return shape[0], shape[1]
    return shape[1], shape[0] * (shape[2] + 1) - 1


def _places(path: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    index = torch.unravel_index(path, shape)
    if len(shape) == 1:
        return torch.zeros_like(index[0]).float(), index[0].float()
    if len(shape) == 2:
        return index[0].float(), index[1].float()
    return index[1].float(), (index[0] * (shape[2] + 1) + index[2]).float()


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise DependencyMissingError(
            "pictures need matplotlib: pip install 'mamba-core[train]'"
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
