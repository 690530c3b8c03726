"""Clouds of points from files and memory, made ready for a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_core.registry import DependencyMissingError

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5")
"""Files that are taken for clouds."""
_HDF5 = (".h5", ".hdf5")


class SeesClouds(Protocol):
    """What a model's config says about its clouds."""

    @property
    def points(self) -> int: ...
    @property
    def features(self) -> int: ...
    @property
    def normalise(self) -> str: ...
    @property
    def unit(self) -> float: ...


def read_cloud(path: Path) -> NDArray:
    """Read one cloud ``(points, columns)`` of a file.

    An ``.npz`` or HDF5 file holds it as ``points`` or ``data``, or as its only array.

    :raises FileNotFoundError: when there is none.
    :raises ValueError: for a file that is damaged or holds several arrays.
    :raises DependencyMissingError: for an HDF5 file without h5py.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give {', '.join(SUFFIXES)} files")
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix.lower() in _HDF5:
            with _h5py().File(path, "r") as file:
                return np.asarray(file[_name(path, list(file))])
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[_name(path, arrays.files)]
    except (OSError, EOFError, KeyError) as error:
        raise ValueError(f"{path} cannot be read as a cloud ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a cloud: {error}") from error


def read_arrays(path: Path, names: Sequence[str]) -> list[NDArray]:
    """Read arrays of an ``.npz`` or HDF5 file by name.

    :raises FileNotFoundError: when it is not there.
    :raises ValueError: for one that lacks an array, with the names it has.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: give the file with the clouds")
    if path.suffix.lower() in _HDF5:
        with _h5py().File(path, "r") as file:
            _need(path, names, list(file))
            return [np.asarray(file[name]) for name in names]
    with np.load(path, allow_pickle=False) as arrays:
        _need(path, names, arrays.files)
        return [arrays[name] for name in names]


def to_cloud(cloud: Any, model: SeesClouds, fewest: int) -> Tensor:
    """Return a cloud in memory or of a file, checked, float32 ``(points, 3 + features)``.

    :param cloud: a path, or an array or tensor ``(points, columns)``.
    :param fewest: how many points it must have.
    :raises ValueError: for another number of columns, values that are not finite, and too few
        points.
    """
    name = "the cloud"
    if isinstance(cloud, str | Path):
        name, cloud = str(cloud), read_cloud(Path(cloud))
    values = torch.as_tensor(np.asarray(cloud)) if not isinstance(cloud, Tensor) else cloud
    columns = 3 + model.features
    if values.dim() != 2 or values.shape[1] != columns:
        raise ValueError(
            f"{name} has shape {tuple(values.shape)}, expected (points, {columns}): x, y, z and "
            f"{model.features} features"
        )
    if len(values) < fewest:
        raise ValueError(
            f"{name} has {len(values)} points, the model makes {fewest} groups: give more points, "
            "or train a model with fewer architecture.groups"
        )
    values = values.float()
    if not values.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity: remove these points first")
    return values


def resampled(cloud: Tensor, count: int, *, shuffled: bool) -> Tensor:
    """Return exactly ``count`` points of a cloud.

    Of a larger cloud every so many-th point is kept; a smaller one is repeated.

    :param shuffled: draw them from torch's generator instead.
    """
    have = len(cloud)
    if shuffled:
        rounds = [torch.randperm(have) for _ in range(-(-count // have))]
        return cloud[torch.cat(rounds)[:count]]
    if have >= count:
        return cloud[torch.arange(count) * have // count]
    return cloud[torch.arange(count) % have]


def normalised(cloud: Tensor, model: SeesClouds) -> Tensor:
    """Centre and scale the places as the model's config says; other columns stay."""
    places, others = cloud[:, :3], cloud[:, 3:]
    if model.normalise != "none":
        places = places - places.mean(0)
    if model.normalise == "unit-sphere":
        places = places / places.norm(dim=-1).max().clamp(min=torch.finfo(places.dtype).tiny)
    else:
        places = places / model.unit
    return torch.cat([places, others], dim=1)


def cloud_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the files, and of folders all files of clouds below them, in the order of names.

    :raises FileNotFoundError: for a folder without clouds.
    """
    files: list[Path] = []
    for path in inputs:
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        if path.is_dir() and not found:
            raise FileNotFoundError(f"{path} holds no {', '.join(SUFFIXES)} files")
        files += found if path.is_dir() else [path]
    return files


def _name(path: Path, names: Sequence[str]) -> str:
    known = [name for name in ("points", "data") if name in names]
    if not known and len(names) != 1:
        raise ValueError(f"it holds {', '.join(names)}; 'points', 'data' or one array is meant")
    return known[0] if known else names[0]


def _need(path: Path, names: Sequence[str], have: Sequence[str]) -> None:
    missing = [name for name in names if name not in have]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it holds {', '.join(have)}")


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise DependencyMissingError(
            f"HDF5 files are read by h5py, which cannot be imported ({error}): pip install "
            "'mamba-vision[points]', or give .npz or .npy files"
        ) from error
    return h5py
