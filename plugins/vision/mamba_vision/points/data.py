"""Training, validation and test clouds of ``points-cls``.

A sample is a function of (seed, epoch, index) only: random changes draw from a generator seeded
by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamba_vision.labelling.dataset import LabelledDataset
from mamba_vision.labelling.parts import PARTS, class_names, needed_parts, taken
from mamba_vision.labelling.split import (
    Sample,
    Split,
    make_sample,
    smoothed,
    warn_of_broken,
)
from mamba_vision.points.clouds import cloud_files, normalised, read_arrays, resampled, to_cloud
from mamba_vision.points.config import PointsConfig
from mamba_vision.points.data_config import CloudArrays, CloudAugment, CloudFolder, PointsData
from mamba_vision.points.model import fewest_points
from mamba_vision.seeding import drawn_from


@dataclass
class Clouds:
    """Labelled clouds of one part of the data, all checked."""

    clouds: list[Tensor]
    """Each float32 ``(points, 3 + features)``."""
    labels: NDArray[np.int64]
    """Of each cloud."""
    classes: tuple[str, ...]
    """Their names, in order."""
    skipped: tuple[str, ...] = ()
    """What could not be read or taken."""


class PointsDataset(LabelledDataset[Clouds]):
    """Labelled clouds of ``points-cls``.

    :param data: where they lie.
    :param model: points, features, normalisation and number of classes.
    :raises FileNotFoundError: when they are not there.
    :raises ValueError: when the classes of the data are not those of the model.
    """

    def __init__(self, data: PointsData, model: PointsConfig) -> None:
        self.data, self.model = data, model
        source = data.source
        parts = (
            _arrays(source, model) if isinstance(source, CloudArrays) else _folder(source, model)
        )
        broken = [name for part in parts.values() for name in part.skipped]
        warn_of_broken(broken, "clouds", stacklevel=2)
        super().__init__(parts, model, data.val_share)

    def plain(self, part: Clouds, places: NDArray) -> Split:
        """See :meth:`LabelledDataset.plain`."""
        return CloudSplit(part, places, self.model, 0, CloudAugment())

    def varied(self, part: Clouds, places: NDArray, seed: int) -> Split:
        """See :meth:`LabelledDataset.varied`."""
        return CloudSplit(part, places, self.model, seed, self.data.augment)


class CloudSplit:
    """Clouds of the model's number of points, normalised; varied where ``augment`` says."""

    def __init__(
        self,
        clouds: Clouds,
        places: NDArray,
        model: PointsConfig,
        seed: int,
        augment: CloudAugment,
    ) -> None:
        self.clouds, self.places, self.model = clouds, places, model
        self.seed, self.augment = seed, augment

    def __len__(self) -> int:
        return len(self.places)

    def sample(self, epoch: int, index: int) -> Sample:
        """See :meth:`Split.sample`."""
        place, augment = int(self.places[index]), self.augment
        with drawn_from(self.seed, epoch, index):
            cloud = resampled(
                self.clouds.clouds[place], self.model.points, shuffled=augment.resample
            )
            cloud = varied(normalised(cloud, self.model), augment)
        label = int(self.clouds.labels[place])
        sample = make_sample("points", cloud, label, self.model.num_classes)
        return {**sample, "targets": smoothed(sample["targets"], augment.label_smoothing)}


def varied(cloud: Tensor, augment: CloudAugment) -> Tensor:
    """Turn, scale and move a cloud's places, drawn from torch's generator."""
    places, others = cloud[:, :3], cloud[:, 3:]
    if augment.rotate:
        angle = float(torch.rand(())) * 2 * math.pi
        sine, cosine = math.sin(angle), math.cos(angle)
        turn = torch.tensor([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
        places = places @ turn
    low, high = augment.scale
    places = places * (low + (high - low) * torch.rand(()))
    if augment.shift:
        places = places + (2 * torch.rand(3) - 1) * augment.shift
    if augment.jitter:
        places = places + torch.randn_like(places) * augment.jitter
    return torch.cat([places, others], dim=1)


def _arrays(source: CloudArrays, model: PointsConfig) -> dict[str, Clouds]:
    """Clouds of arrays; those that cannot be taken are left out, named by file and row."""
    names: tuple[str, ...] = ()
    if source.names is not None:
        (listed,) = read_arrays(source.train[0], [source.names])
        names = tuple(str(name) for name in listed)
    clouds, labels, test, rows = _rows_of(source, source.train)
    if source.is_test is not None:
        found = {"train": np.flatnonzero(~test), "test": np.flatnonzero(test)}
        sets = {part: (clouds[i], labels[i], [rows[k] for k in i]) for part, i in found.items()}
    elif source.test:
        more, theirs, _, names_of = _rows_of(source, source.test)
        sets = {"train": (clouds, labels, rows), "test": (more, theirs, names_of)}
    else:
        raise ValueError("source.test names no file: give test files, or the name of is_test")
    highest = max(int(y.max()) for _, y, _ in sets.values() if len(y))
    names = names or tuple(str(k) for k in range(highest + 1))
    return {part: _checked(x, y, of, names, model) for part, (x, y, of) in sets.items()}


def _rows_of(
    source: CloudArrays, files: Sequence[Path]
) -> tuple[NDArray, NDArray[np.int64], NDArray[np.bool_], list[str]]:
    wanted = [source.points, source.labels, *([source.is_test] if source.is_test else [])]
    read = [read_arrays(path, wanted) for path in files]
    clouds = np.concatenate([arrays[0] for arrays in read]).astype(np.float32)
    clouds[..., :3] *= source.scale
    labels = np.concatenate([arrays[1].reshape(-1) for arrays in read]).astype(np.int64)
    test = np.concatenate([a[2].astype(bool) for a in read]) if source.is_test else labels < 0
    rows = [f"{p} row {k}" for p, a in zip(files, read, strict=True) for k in range(len(a[0]))]
    return clouds, labels, test, rows


def _folder(source: CloudFolder, model: PointsConfig) -> dict[str, Clouds]:
    if not source.path.is_dir():
        raise FileNotFoundError(f"{source.path} is no folder: give the one that holds train/")
    where = str(source.path)
    found = {part: _files_of(source.path / part) for part in PARTS}
    classes = class_names(found, where, "clouds")
    parts: dict[str, Clouds] = {}
    for part, files in found.items():
        labels = np.array([classes.index(label) for _, label in files], dtype=np.int64)
        paths = [path for path, _ in files]
        parts[part] = _checked(paths, labels, [str(p) for p in paths], classes, model)
    return needed_parts({k: part for k, part in parts.items() if part.clouds}, where, "clouds")


def _files_of(part: Path) -> list[tuple[Path, str]]:
    folders = sorted(p for p in part.glob("*") if p.is_dir() and any(p.iterdir()))
    return [(file, folder.name) for folder in folders for file in cloud_files([folder])]


def _checked(
    clouds: NDArray | Sequence[Path],
    labels: NDArray[np.int64],
    names: Sequence[str],
    classes: tuple[str, ...],
    model: PointsConfig,
) -> Clouds:
    """Keep what the model can take."""
    fewest = fewest_points(model)
    kept, labels, skipped = taken(clouds, names, labels, lambda c: to_cloud(c, model, fewest))
    return Clouds(kept, labels, classes, skipped)
